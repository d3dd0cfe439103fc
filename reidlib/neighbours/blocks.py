"""Blocks of rows on a pool of threads.

The numba kernels of this package release the GIL and write only to the rows of their own block, so that results do not
depend on the number of threads (`numba.set_num_threads`) or on their timing.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

Result = TypeVar("Result")


def row_blocks(rows: int, *, size: int | None = None) -> list[tuple[int, int]]:
    """Cut `rows` rows into (start, stop) blocks of `size`, by default some sixteen for each thread."""
    if size is None:
        size = max(64, -(-rows // (16 * numba.get_num_threads())))
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def run_blocks(function: Callable[[int, int], Result], blocks: Iterable[tuple[int, int]]) -> Iterator[Result]:
    """Call `function(start, stop)` for each block, a thread per core; results come in the order of the blocks."""
    with ThreadPoolExecutor(max_workers=numba.get_num_threads()) as pool:
        yield from pool.map(lambda block: function(*block), blocks)
