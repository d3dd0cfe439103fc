"""Numba kernels of the retrieval metrics: ranks of the positives of each query, without sorting a row.

Item `a` outranks item `b` where it scores higher, or equal and stands earlier in the gallery: a total order, the one of
a stable sort by decreasing score. The rank of a positive is the number of kept items that outrank it, plus one.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _insert_worst_first(scores, positives, filled, column):
    """Puts a column, larger than those before it, to its place in order: lowest score first, of equal ones the later.

    By insertion, which compiles in a fraction of the time that numba's sort takes; rows have few positives.
    """
    p = filled
    while p > 0 and scores[positives[p - 1]] >= scores[column]:
        positives[p] = positives[p - 1]
        p -= 1
    positives[p] = column


@njit(cache=True, nogil=True)
def _score_query(row, group, camera, gallery_cameras, result):
    """Writes the three values of one query to `result`, as `score_queries` describes them."""
    room = np.empty(group.size, np.int64)
    found = np.int64(0)  # not the literal, which would be compiled for once more
    for g in range(group.size):
        if gallery_cameras[group[g]] != camera:
            _insert_worst_first(row, room, found, group[g])
            found += 1
    if found == 0:
        return
    positives = room[:found]
    outranking = np.zeros(found, np.int64)
    _count_outranking(row, positives, outranking)
    for g in range(group.size):
        i = group[g]
        if gallery_cameras[i] == camera:  # they were counted, and are ignored
            for p in range(found):
                column = positives[p]
                if row[i] > row[column] or (row[i] == row[column] and i < column):
                    outranking[p] -= 1
    precision = 0.0
    for p in range(found - 1, -1, -1):
        precision += (found - p) / (outranking[p] + 1)
    result[0] = precision / found
    result[1] = found / (outranking[0] + 1)
    result[2] = outranking[found - 1] + 1


@njit(cache=True, nogil=True)
def score_queries(scores, members, first, last, query_cameras, gallery_cameras, start, stop, result):
    """Average precision, inverse negative penalty and best rank of the queries [start, stop) of a tile.

    The (q, n) scores are higher for better items; `members` are the gallery's columns grouped by identity, increasing
    within a group, and members[first:last] is the group of each query, empty where nothing can match.

    `result`, (q, 3) float64 and 0 before, becomes: average precision, inverse negative penalty, best rank; all 0 for a
    query without a match, NaN for a query with a NaN among its scores.
    """
    for q in range(start, stop):
        if _not_a_number(scores[q]) > 0:
            for value in range(3):
                result[q, value] = np.nan
        else:
            group = members[first[q] : last[q]]
            _score_query(scores[q], group, query_cameras[q], gallery_cameras, result[q])
