"""Long work: one progress bar for it (on a terminal, on standard error, gone when done), and threads that go ahead."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def progress(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield the items under a bar; without one where standard error is no terminal, or there are fewer than five.

    Of several processes that torchrun started, only the first shows bars.
    """
    count = total if total is not None or not isinstance(items, Sized) else len(items)
    few = count is not None and count < 5
    if few or not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield from items
        return
    from rich.console import Console  # costs a tenth of a second, where most runs show no bar
    from rich.progress import track

    yield from track(items, description, total=count, transient=True, console=Console(stderr=True))


def in_parallel(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], *, most: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, with at most `most` items taken ahead."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
