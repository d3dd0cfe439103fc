"""Blocks of rows on a pool of threads.

The numba kernels of this package release the GIL and write only to the rows of their own block, so that results do not
depend on the number of threads (NUMBA_NUM_THREADS) or on their timing. None of them uses numba's own threads, which are
never started: with them numba would give OpenMP, and torch with it, as many, whatever OMP_NUM_THREADS says, and where
two processes have more threads than cores they wait for each other most of the time.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

Result = TypeVar("Result")


def row_blocks(rows: int, *, size: int | None = None) -> list[tuple[int, int]]:
    """Cut `rows` rows into (start, stop) blocks of `size`, by default some sixteen for each thread."""
    if size is None:
        size = max(64, -(-rows // (16 * numba.config.NUMBA_NUM_THREADS)))
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def run_blocks(function: Callable[..., Result], blocks: Sequence[tuple]) -> Iterator[Result]:
    """Call `function(*block)` for each block, a thread per core; results come in the order of the blocks.

    The threads are kept, since starting them takes longer than many a block; so `function` must not call this again.
    """
    if len(blocks) < 2:
        yield from (function(*block) for block in blocks)
    else:
        yield from _pool(numba.config.NUMBA_NUM_THREADS).map(lambda block: function(*block), blocks)


def each_block(function: Callable[[int, int], object], rows: int, *, size: int | None = None) -> None:
    """Call `function(start, stop)` for the blocks of so many rows, and wait for them all."""
    for _ in run_blocks(function, row_blocks(rows, size=size)):
        pass


def end_threads() -> None:
    """End the threads that are kept.

    Where torch has multiplied in them, each has threads of OpenMP of its own; and where there are more of these than
    cores, GNU's OpenMP lets them sleep at once instead of spinning for a moment: a third of the speed of two threads
    that train a small network.
    """
    while _pools:
        _pools.popitem()[1].shutdown()


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(max_workers=threads)
    return _pools[threads]


_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has the pools, but not their threads
