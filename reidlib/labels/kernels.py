"""Numba kernels over CSR distance graphs: k-th distances, silhouette, blending, merges; and over pairs of rows.

Graphs are (starts int64, columns int32, values float32). Those that take a range of rows write these alone, so results
do not depend on the number of threads (`neighbours.blocks`); the others read memory once. The diagonal may be stored or
not: a row is always its own neighbour at 0.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

from reidlib.neighbours.search_kernels import dot

LEAST = np.float32(2.0**-24)
"""How far apart two rows are at least: exact zeros are kept for the diagonal."""


@njit(cache=True, nogil=True)
def kth_distances(starts, columns, values, k):
    """Distance of each row to its k-th nearest row (itself first), 1 where fewer are stored."""
    n = len(starts) - 1
    result = np.ones(n, dtype=np.float32)
    for i in range(n):
        if k == 1:
            result[i] = 0.0
            continue
        nearest = np.ones(k - 1, dtype=np.float32)  # ascending, the k - 1 smallest so far
        for p in range(starts[i], starts[i + 1]):
            value = values[p]
            if columns[p] == i or value >= nearest[k - 2]:
                continue
            slot = k - 2
            while slot > 0 and nearest[slot - 1] > value:
                nearest[slot] = nearest[slot - 1]
                slot -= 1
            nearest[slot] = value
        result[i] = nearest[k - 2]
    return result


@njit(cache=True, nogil=True)
def upper_distances(starts, columns, values):
    """The stored distances of the pairs i < j."""
    n = len(starts) - 1
    total = 0
    for i in range(n):
        for p in range(starts[i], starts[i + 1]):
            total += columns[p] > i
    result = np.empty(total, dtype=np.float32)
    total = 0
    for i in range(n):
        for p in range(starts[i], starts[i + 1]):
            if columns[p] > i:
                result[total] = values[p]
                total += 1
    return result


@njit(cache=True, nogil=True)
def silhouettes(starts, columns, values, labels, sizes, groups, group_sizes, first, last, result):
    """Silhouette of the rows first..last (0 for outliers and members of singletons); pairs not stored have distance 1.

    The rows of a row's own group, which belong to its cluster for certain, are left out as the row itself is.
    The mean distance to a cluster is 1 - (sum of the stored similarities) / size, so only stored pairs are visited.
    """
    sums = np.zeros(len(sizes), dtype=np.float64)
    for i in range(first, last):
        cluster = labels[i]
        others = 0 if cluster < 0 else sizes[cluster] - group_sizes[groups[i]]
        if others < 1:
            continue
        for p in range(starts[i], starts[i + 1]):
            j = columns[p]
            if groups[j] != groups[i] and labels[j] >= 0:
                sums[labels[j]] += 1.0 - np.float64(values[p])
        inside = 1.0 - sums[cluster] / others
        nearest = 0.0
        for p in range(starts[i], starts[i + 1]):
            other = labels[columns[p]]
            if other >= 0:
                if other != cluster:
                    nearest = max(nearest, sums[other] / sizes[other])
                sums[other] = 0.0
        outside = 1.0 - nearest
        largest = max(inside, outside)
        if largest > 0.0:
            result[i] = (outside - inside) / largest
        sums[cluster] = 0.0


@njit(cache=True, inline="always")
def find(parent, i):
    """Root of i, halving the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def join(first, second, roots, merges):
    """Join the pairs' clusters in the order of the pairs; roots[c] becomes c's lowest member. Returns merges left."""
    for p in range(len(first)):
        if merges == 0:
            break
        a, b = find(roots, first[p]), find(roots, second[p])
        if a != b:
            roots[max(a, b)] = min(a, b)
            merges -= 1
    for c in range(len(roots)):  # roots come before what hangs from them
        roots[c] = roots[roots[c]]
    return merges


@njit(cache=True, nogil=True)
def numbered_merges(n, first, second, heights):
    """Scipy's linkage rows from slot merges sorted by height: cluster n + r is the one made by row r."""
    rows = np.empty((len(first), 4), dtype=np.float64)
    parent = np.arange(n, dtype=np.int32)
    number = np.arange(n, dtype=np.int64)
    size = np.ones(n, dtype=np.int64)
    for r in range(len(first)):
        a, b = find(parent, first[r]), find(parent, second[r])
        rows[r, 0], rows[r, 1] = min(number[a], number[b]), max(number[a], number[b])
        rows[r, 2] = heights[r]
        parent[a] = b
        size[b] += size[a]
        rows[r, 3] = size[b]
        number[b] = n + r
    return rows


@njit(cache=True, nogil=True)
def cut(n, rows):
    """A cluster number per row after the given merges (any numbers, equal inside a cluster)."""
    above = np.arange(n + len(rows), dtype=np.int64)
    for r in range(len(rows)):
        above[np.int64(rows[r, 0])] = n + r
        above[np.int64(rows[r, 1])] = n + r
    for i in range(n + len(rows) - 1, -1, -1):
        above[i] = above[above[i]]
    return above[:n]


@njit(cache=True, nogil=True)
def blend(starts, columns, values, embeddings, weight, divisor, first, last, blended):
    """(1 - weight) · distance + weight · (1 - inner product) / divisor of the pairs of the rows first..last, in [0, 1].

    The divisor is that of the lower of the two rows.
    """
    for i in range(first, last):
        for p in range(starts[i], starts[i + 1]):
            if columns[p] == i:
                blended[p] = 0.0
                continue
            original = 1.0 - np.float64(dot(embeddings[i], embeddings[columns[p]]))
            original /= divisor[min(i, columns[p])]
            mixed = (1.0 - weight) * values[p] + weight * min(max(original, 0.0), 1.0)
            blended[p] = max(np.float32(mixed), LEAST)  # exact zeros are kept for the diagonal


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nnan", "nsz"})
def smaller_sum(x, y):
    """The sum over the smaller of each two numbers; a loop that becomes vector instructions."""
    total = np.float32(0)
    for t in range(x.shape[0]):
        total += min(x[t], y[t])
    return total


@njit(cache=True, nogil=True)
def add_overlaps(probabilities, indices, cameras, first, last, sums):
    """Add to sums[i, p] the overlap of the probabilities of i and indices[i, p], where they are on two cameras."""
    for i in range(first, last):
        for p in range(indices.shape[1]):
            j = indices[i, p]
            if cameras[i] != cameras[j]:
                sums[i, p] += smaller_sum(probabilities[i], probabilities[j])
