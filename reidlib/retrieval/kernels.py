"""Numba kernels of the retrieval metrics: ranks of the positives of each query, without sorting a row.

Item `a` outranks item `b` where it scores higher, or equal and stands earlier in the gallery: a total order, the one of
a stable sort by decreasing score. The rank of a positive is the number of kept items that outrank it, plus one.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit, prange

BLOCK = 2048  # columns counted at a time: 8 KiB, so that every positive meets its block in the first-level cache


@njit(cache=True, inline="always")
def _at_least(scores, score):
    """Number of items that score at least `score`; 32-bit so that it vectorises over as many lanes as the scores."""
    count = np.int32(0)
    for j in range(scores.size):
        count = np.int32(count + np.int32(scores[j] >= score))
    return count


@njit(cache=True, inline="always")
def _above(scores, score):
    """Number of items that score more than `score`."""
    count = np.int32(0)
    for j in range(scores.size):
        count = np.int32(count + np.int32(scores[j] > score))
    return count


@njit(cache=True, inline="always")
def _not_a_number(scores):
    """Number of NaN scores."""
    count = np.int32(0)
    for j in range(scores.size):
        count = np.int32(count + np.int32(scores[j] != scores[j]))
    return count


@njit(cache=True)
def _count_outranking(scores, positives, outranking):
    """Adds to `outranking[p]` the items of the row that outrank positive p; positives come worst first.

    What outranks a positive also outranks every worse one: where a block holds none for a positive, it holds none for
    the better ones that follow. Late in training nearly every block is left after the first comparison. Comparing
    is so cheap (16 scores at a time) that a search among the sorted positives pays beyond some 2,000 of them only.
    """
    for start in range(0, scores.size, BLOCK):
        stop = min(start + BLOCK, scores.size)
        for p in range(positives.size):
            column = positives[p]
            score = scores[column]
            middle = min(max(column, start), stop)
            count = _at_least(scores[start:middle], score) + _above(scores[middle:stop], score)
            if count == 0:
                break
            outranking[p] += count


@njit(cache=True)
def _worst_first(scores, columns):
    """Orders gallery columns (increasing on entry) from the lowest ranked to the highest."""
    reverse = columns[::-1].copy()  # a stable sort by increasing score keeps the later column first: it ranks lower
    return reverse[np.argsort(scores[reverse], kind="mergesort")]


@njit(cache=True)
def _score_query(row, group, same_camera, result):
    """Writes the three values of one query to `result`, as `score_queries` describes them."""
    positives = _worst_first(row, group[~same_camera])
    outranking = np.zeros(positives.size, np.int64)
    _count_outranking(row, positives, outranking)
    for i in group[same_camera]:  # they were counted, and are ignored
        for p in range(positives.size):
            column = positives[p]
            if row[i] > row[column] or (row[i] == row[column] and i < column):
                outranking[p] -= 1
    precision = 0.0
    for p in range(positives.size - 1, -1, -1):
        precision += (positives.size - p) / (outranking[p] + 1)
    result[0] = precision / positives.size
    result[1] = positives.size / (outranking[0] + 1)
    result[2] = outranking[-1] + 1


@njit(cache=True, parallel=True)
def score_queries(scores, members, first, last, query_cameras, gallery_cameras):
    """Average precision, inverse negative penalty and best rank of each query of a tile.

    The (q, n) scores are higher for better items; `members` are the gallery's columns grouped by identity, increasing
    within a group, and members[first:last] is the group of each query, empty where nothing can match.

    Returns:
        (q, 3) float64: average precision, inverse negative penalty, best rank; all 0 for a query without a match, NaN
        for a query with a NaN among its scores.
    """
    result = np.zeros((scores.shape[0], 3), np.float64)
    for q in prange(scores.shape[0]):
        group = members[first[q] : last[q]]
        same_camera = gallery_cameras[group] == query_cameras[q]
        if _not_a_number(scores[q]) > 0:
            result[q, :] = np.nan
        elif same_camera.sum() < group.size:
            _score_query(scores[q], group, same_camera, result[q])
    return result
