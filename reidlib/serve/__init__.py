"""The search page: a gallery in the browser of the machine that it lies on.

`page` answers what is asked, in `words`; `server` listens, `request` speaks HTTP; `assets` is what the browser gets. No
framework: three pages and four questions on loopback take fewer lines of the standard library than a framework's
dependencies, and its handler has the time limits that the small asynchronous servers lack.
"""
