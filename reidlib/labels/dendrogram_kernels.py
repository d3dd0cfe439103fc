"""Numba kernels that number the merges of a linkage and cut them into clusters."""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def _find(parent: np.ndarray, i: int) -> int:
    """Root of i, halving the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def numbered_merges(n: int, first: np.ndarray, second: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Scipy's linkage rows from slot merges sorted by height: cluster n + r is the one made by row r."""
    rows = np.empty((len(first), 4), dtype=np.float64)
    parent = np.arange(n, dtype=np.int32)
    number = np.arange(n, dtype=np.int64)
    size = np.ones(n, dtype=np.int64)
    for r in range(len(first)):
        a, b = _find(parent, first[r]), _find(parent, second[r])
        rows[r, 0], rows[r, 1] = min(number[a], number[b]), max(number[a], number[b])
        rows[r, 2] = heights[r]
        parent[a] = b
        size[b] += size[a]
        rows[r, 3] = size[b]
        number[b] = n + r
    return rows


@njit(cache=True, nogil=True)
def cut(n: int, rows: np.ndarray) -> np.ndarray:
    """A cluster number per row after the given merges (any numbers, equal inside a cluster)."""
    above = np.arange(n + len(rows), dtype=np.int64)
    for r in range(len(rows)):
        above[np.int64(rows[r, 0])] = n + r
        above[np.int64(rows[r, 1])] = n + r
    for i in range(n + len(rows) - 1, -1, -1):
        above[i] = above[above[i]]
    return above[:n]
