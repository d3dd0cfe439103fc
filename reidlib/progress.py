"""One progress bar for everything that can take over two seconds: on a terminal, on standard error, gone when done."""

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield the items under a bar; without one where standard error is no terminal, or there are fewer than five.

    Of several processes that torchrun started, only the first shows bars.
    """
    count = total if total is not None or not isinstance(items, Sized) else len(items)
    few = count is not None and count < 5
    if few or not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield from items
        return
    yield from track(items, description, total=count, transient=True, console=Console(stderr=True))
