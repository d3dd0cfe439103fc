"""Numba kernels of average linkage on a sparse graph: the nearest-neighbour chain over sums of similarities.

Between clusters A and B the average distance is 1 - S(A, B) / (|A| |B|), S the sum of the similarities 1 - d of the
stored pairs. Sums are fixed-point int64, so that S(A, B) does not depend on the order of the additions: equal sums
compare equal from either side, and the result does not depend on rounding, threads or machine.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def fixed_point(values: np.ndarray, scale: float) -> np.ndarray:
    """Similarities 1 - d in units of 1 / scale; at least one unit where d < 1, 0 where d = 1."""
    sums = np.zeros(len(values), dtype=np.int64)
    for p in range(len(values)):
        if values[p] < 1.0:
            sums[p] = np.int64(np.maximum(1.0, np.rint((1.0 - np.float64(values[p])) * scale)))
    return sums


@njit(cache=True, inline="always")
def _find(parent: np.ndarray, i: int) -> int:
    """Root of i, halving the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _rewrite(
    cluster: int,
    found: int,
    starts: np.ndarray,
    columns: np.ndarray,
    sums: np.ndarray,
    used: np.ndarray,
    following: np.ndarray,
    tail: np.ndarray,
    totals: np.ndarray,
    touched: np.ndarray,
) -> None:
    """Write a cluster's row, one entry per neighbouring cluster, into the segments it has; drop those left empty."""
    segment = cluster
    written = 0
    while True:
        used[segment] = min(found - written, starts[segment + 1] - starts[segment])
        for p in range(starts[segment], starts[segment] + used[segment]):
            columns[p] = touched[written]
            sums[p] = totals[touched[written]]
            written += 1
        if written == found:
            break
        segment = following[segment]
    following[segment] = -1
    tail[cluster] = segment


@njit(cache=True)
def _compact(
    cluster: int,
    starts: np.ndarray,
    columns: np.ndarray,
    sums: np.ndarray,
    parent: np.ndarray,
    used: np.ndarray,
    following: np.ndarray,
    tail: np.ndarray,
    totals: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Bring a cluster's row up to date: one entry per neighbouring cluster. Leaves the sums in ``totals``.

    A row is a chain of the segments of its members' original rows, ``used[s]`` entries of segment s being live.
    Entries keep the numbers they were written with; ``parent`` says which cluster those have become.
    """
    entries = 0
    found = 0
    segment = cluster
    while segment != -1:
        for p in range(starts[segment], starts[segment] + used[segment]):
            other = _find(parent, columns[p])
            if other == cluster or sums[p] == 0:
                continue
            if totals[other] == 0:
                touched[found] = other
                found += 1
            totals[other] += sums[p]
        entries += used[segment]
        segment = following[segment]
    if found < entries:  # something merged since: write the row again, into the same segments
        _rewrite(cluster, found, starts, columns, sums, used, following, tail, totals, touched)
    return found


@njit(cache=True)
def _closest(
    cluster: int, preferred: int, found: int, size: np.ndarray, totals: np.ndarray, touched: np.ndarray
) -> tuple[int, float]:
    """The neighbour of the highest mean similarity: ``preferred`` where it ties, else the lowest number."""
    best = -1
    highest = 0.0
    for t in range(found):
        other = touched[t]
        mean = totals[other] / (np.float64(size[cluster]) * np.float64(size[other]))
        if mean > highest or (mean == highest and best != preferred and (other == preferred or other < best)):
            best = other
            highest = mean
        totals[other] = 0
    return best, highest


@njit(cache=True)
def _join(gone: int, kept: int, size: np.ndarray, parent: np.ndarray, following: np.ndarray, tail: np.ndarray) -> None:
    """Merge a cluster into another: its row is hung onto the other's as it is."""
    size[kept] += size[gone]
    size[gone] = 0
    parent[gone] = kept
    following[tail[kept]] = gone
    tail[kept] = tail[gone]


@njit(cache=True)
def chain(starts: np.ndarray, columns: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All merges of positive mean similarity, in chain order; overwrites ``columns`` and ``sums``.

    The chain starts at the lowest cluster left, steps to the nearest neighbour while that is strictly nearer, and
    merges reciprocal neighbours into the higher slot: scipy's order, so that exact ties are broken as it does.
    Returns (first, second, mean similarity) per merge, slots being row numbers; a NaN where the graph is found to be
    one-sided.
    """
    n = len(starts) - 1
    parent = np.arange(n, dtype=np.int32)
    tail = np.arange(n, dtype=np.int32)
    following = np.full(n, -1, dtype=np.int32)
    used = starts[1:] - starts[:-1]
    size = np.ones(n, dtype=np.int64)
    totals = np.zeros(n, dtype=np.int64)
    touched = np.empty(n, dtype=np.int32)
    path = np.empty(n, dtype=np.int32)
    position = np.full(n, -1, dtype=np.int32)
    first = np.empty(n, dtype=np.int32)
    second = np.empty(n, dtype=np.int32)
    similarity = np.empty(n, dtype=np.float64)
    merges = 0
    length = 0
    lowest = 0
    while True:
        if length == 0:
            while lowest < n and size[lowest] == 0:
                lowest += 1
            if lowest == n:
                break
            path[0] = lowest
            position[lowest] = 0
            length = 1
        top = path[length - 1]
        previous = path[length - 2] if length > 1 else -1
        found = _compact(top, starts, columns, sums, parent, used, following, tail, totals, touched)
        best, highest = _closest(top, previous, found, size, totals, touched)
        if best == -1:  # nothing left to merge with below distance 1
            if length > 1:  # but the cluster before has it as a neighbour: not symmetric
                return first[:0], second[:0], np.full(1, np.nan)
            size[top] = 0
            length = 0
            continue
        if position[best] == -1:
            path[length] = best
            position[best] = length
            length += 1
            continue
        # Reciprocal neighbours. ``best`` is below ``previous`` on the path only where rounding broke a tie.
        cut = position[best]
        for step in range(cut, length):
            position[path[step]] = -1
        length = cut
        gone, kept = min(top, best), max(top, best)
        first[merges], second[merges], similarity[merges] = gone, kept, highest
        merges += 1
        _join(gone, kept, size, parent, following, tail)
    return first[:merges], second[:merges], similarity[:merges]


@njit(cache=True)
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


@njit(cache=True)
def cut(n: int, rows: np.ndarray) -> np.ndarray:
    """A cluster number per row after the given merges (any numbers, equal inside a cluster)."""
    above = np.arange(n + len(rows), dtype=np.int64)
    for r in range(len(rows)):
        above[np.int64(rows[r, 0])] = n + r
        above[np.int64(rows[r, 1])] = n + r
    for i in range(n + len(rows) - 1, -1, -1):
        above[i] = above[above[i]]
    return above[:n]
