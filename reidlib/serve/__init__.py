"""Pages in the browser of the machine that the data lie on: the search of a gallery, and questions to a person.

`page` answers a search, in `words`, `asking` keeps a person's answers; `server` listens, `request` speaks HTTP, and
`assets` is what the browser gets. No framework: a few addresses on loopback take fewer lines of the standard library
than a framework's dependencies, and its handler has the time limits that the small asynchronous servers lack.
"""
