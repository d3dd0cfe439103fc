"""Numba kernel of questions: the pair of images by which the two parts of each merge are compared."""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def closest_pairs(starts, columns, values, left, right, cameras, asked):
    """For each merge the nearest stored pair of its two parts, of two cameras before one of one, that was not asked.

    Merges are in scipy's numbering; ``asked`` are sorted numbers i * n + j of pairs i < j. Each row is looked at where
    its part is the smaller one, at most log2 n times. Returns the lower and the higher row (-1: none), and whether they
    are of two cameras.
    """
    n = len(starts) - 1
    merges = len(left)
    slot = np.arange(n + merges, dtype=np.int64)  # a cluster's place in the arrays below
    cluster_of = np.arange(n, dtype=np.int64)  # of a row, by its place
    size = np.ones(n, dtype=np.int64)
    head = np.arange(n, dtype=np.int64)
    tail = np.arange(n, dtype=np.int64)
    following = np.full(n, -1, dtype=np.int64)
    first = np.full(merges, -1, dtype=np.int64)
    second = np.full(merges, -1, dtype=np.int64)
    across = np.zeros(merges, dtype=np.bool_)
    for r in range(merges):
        fewer, more = slot[left[r]], slot[right[r]]
        if size[fewer] > size[more]:
            fewer, more = more, fewer
        nearest = np.float32(2.0)
        i = head[fewer]
        while i != -1:
            for p in range(starts[i], starts[i + 1]):
                j = columns[p]
                if cluster_of[j] != more:
                    continue
                crossing = cameras[i] != cameras[j]
                if across[r] and not crossing:
                    continue
                low, high = min(i, j), max(i, j)
                closer = crossing and not across[r]
                closer = closer or values[p] < nearest
                closer = closer or (values[p] == nearest and (low, high) < (first[r], second[r]))
                if not closer:
                    continue
                place = np.searchsorted(asked, low * n + high)
                if place < len(asked) and asked[place] == low * n + high:
                    continue
                first[r], second[r], across[r], nearest = low, high, crossing, values[p]
            i = following[i]
        i = head[fewer]
        while i != -1:
            cluster_of[i] = more
            i = following[i]
        following[tail[more]] = head[fewer]
        tail[more] = tail[fewer]
        size[more] += size[fewer]
        slot[n + r] = more
    return first, second, across
