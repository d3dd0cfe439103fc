"""Numba kernels of average linkage on a sparse graph: the nearest-neighbour chain over sums of similarities.

Between clusters A and B the average distance is 1 - S(A, B) / (|A| |B|), S the sum of the similarities 1 - d of the
stored pairs. Sums are whole numbers of 2^-31, so that S(A, B) does not depend on the order of the additions: equal sums
compare equal from either side, and the result does not depend on rounding or machine.

A cluster's row is a chain of segments, each in the room of one original row: first the rows of its members as they
were (*raw*: a slot of column and similarity per entry), later one entry per neighbouring cluster (*packed*: the sums
take 64 bits, so two entries take three slots, the third holding the upper halves). So 8 bytes per stored pair suffice.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

from reidlib.labels.constraint_kernels import hang, set_apart

UNIT = 2.0**-31


@njit(cache=True, nogil=True)
def similarities(values):
    """Similarities 1 - d in units of 2^-31 (exact from d = 2^-8 on); at least one unit where d < 1, 0 where d = 1."""
    words = np.zeros(len(values), dtype=np.uint32)
    for p in range(len(values)):
        if values[p] < 1.0:
            words[p] = np.uint32(np.maximum(1.0, np.rint((1.0 - np.float64(values[p])) / UNIT)))
    return words


@njit(cache=True, nogil=True)
def row_maxima(starts, columns, words):
    """Each row's most similar other row, the lowest where several are (-1: none), and that similarity."""
    n = len(starts) - 1
    nearest = np.full(n, -1, dtype=np.int32)
    highest = np.zeros(n, dtype=np.uint32)
    for i in range(n):
        for p in range(starts[i], starts[i + 1]):
            if words[p] > highest[i] and columns[p] != i:
                highest[i] = words[p]
                nearest[i] = columns[p]
    return nearest, highest


@njit(cache=True, nogil=True)
def _gather(cluster, starts, columns, words, parent, packed, following, totals, touched):
    """Sum a cluster's row per neighbouring cluster into ``totals``: neighbours found, entries read, room if packed."""
    entries = 0
    neighbours = 0
    room = 0
    segment = cluster
    while segment != -1:
        begin, end = starts[segment], starts[segment + 1]
        room += (end - begin) // 3 * 2
        count = end - begin if packed[segment] < 0 else packed[segment]
        raw = packed[segment] < 0
        slot = begin
        for e in range(count):
            other = columns[slot]
            while parent[other] != other:  # the root, halving the path
                parent[other] = parent[parent[other]]
                other = parent[other]
            amount = np.int64(words[slot])
            slot += 1
            if not raw:
                if e & 1:
                    amount |= np.int64(words[slot]) << 32
                    slot += 1
                else:
                    amount |= np.int64(columns[slot + 1]) << 32
            if other != cluster and amount != 0:
                total = totals[other]
                if total == 0:
                    touched[neighbours] = other
                    neighbours += 1
                totals[other] = total + amount
        entries += count
        segment = following[segment]
    return neighbours, entries, room


@njit(cache=True, nogil=True)
def _pack(cluster, neighbours, starts, columns, words, packed, following, tail, totals, touched):
    """Write a cluster's row, one entry per neighbouring cluster, into the segments it has; drop those left empty."""
    segment = cluster
    written = 0
    while True:
        begin = starts[segment]
        packed[segment] = min(neighbours - written, (starts[segment + 1] - begin) // 3 * 2)
        slot = begin
        for e in range(packed[segment]):
            other = touched[written]
            columns[slot] = other
            words[slot] = np.uint32(totals[other] & 0xFFFFFFFF)
            slot += 1
            if e & 1:
                words[slot] = np.uint32(totals[other] >> 32)
                slot += 1
            else:
                columns[slot + 1] = np.int32(totals[other] >> 32)
            written += 1
        if written == neighbours:
            break
        segment = following[segment]
    following[segment] = -1
    tail[cluster] = segment


@njit(cache=True, nogil=True)
def _closest(cluster, preferred, neighbours, size, totals, touched):
    """The neighbour of the highest mean similarity: ``preferred`` where it ties, else the lowest number."""
    best = -1
    highest = 0.0
    for t in range(neighbours):
        other = touched[t]
        if totals[other] == 0:  # kept apart
            continue
        mean = totals[other] / (np.float64(size[cluster]) * np.float64(size[other]))
        if mean > highest or (mean == highest and best != preferred and (other == preferred or other < best)):
            best = other
            highest = mean
        totals[other] = 0
    return best, highest


@njit(cache=True, nogil=True)
def _join(gone, kept, size, parent, following, tail):
    """Merge a cluster into another: its row is hung onto the other's as it is."""
    size[kept] += size[gone]
    size[gone] = 0
    parent[gone] = kept
    following[tail[kept]] = gone
    tail[kept] = tail[gone]


@njit(cache=True, nogil=True)
def chain(starts, columns, words, nodes, apart_starts, apart):
    """All merges of positive mean similarity, in chain order; overwrites ``columns`` and ``words``.

    Rows of one node (``nodes[i]``, the highest row of it, stands for row i) are one cluster from the first; clusters
    that hold nodes kept apart have no similarity (``apart_starts`` and ``apart``, as in `constraint_kernels.separate`).

    The chain starts at the lowest cluster left, steps to the nearest neighbour while that is strictly nearer, and
    merges reciprocal neighbours into the higher slot: scipy's order, so that exact ties are broken as it does.
    Returns (first, second, mean similarity) per merge, slots being row numbers; a NaN where the graph is found to be
    one-sided.
    """
    n = len(starts) - 1
    parent = np.arange(n, dtype=np.int32)
    tail = np.arange(n, dtype=np.int32)
    following = np.full(n, -1, dtype=np.int32)
    packed = np.full(n, -1, dtype=np.int64)
    nearest, nearness = row_maxima(starts, columns, words)
    approach = np.zeros(n, dtype=np.float64)  # similarity of each cluster on the path to the one before it
    size = np.ones(n, dtype=np.int64)
    totals = np.zeros(n, dtype=np.int64)
    touched = np.empty(n, dtype=np.int32)
    path = np.empty(n, dtype=np.int32)
    position = np.full(n, -1, dtype=np.int32)
    list_head = np.full(n, -1, dtype=np.int32)  # the rows of a cluster that are kept apart from others
    list_next = np.full(n, -1, dtype=np.int32)
    list_tail = np.full(n, -1, dtype=np.int32)
    for i in range(n):
        if nodes[i] != i:
            _join(i, np.int64(nodes[i]), size, parent, following, tail)
        if apart_starts[i] < apart_starts[i + 1]:
            list_head[i] = i
            list_tail[i] = i
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
        if size[top] == 1 and nearest[top] != -1 and size[nearest[top]] == 1:
            # Both as they were: no cluster made since can be nearer than its nearest member was.
            best, highest = nearest[top], np.float64(nearness[top])
            if previous != -1 and approach[length - 1] == highest:
                best = previous
        else:
            neighbours, entries, room = _gather(top, starts, columns, words, parent, packed, following, totals, touched)
            if neighbours < entries and neighbours <= room:
                _pack(top, neighbours, starts, columns, words, packed, following, tail, totals, touched)
            set_apart(top, parent, apart_starts, apart, list_head, list_next, totals)
            best, highest = _closest(top, previous, neighbours, size, totals, touched)
        if best == -1:  # nothing left to merge with below distance 1
            if length > 1:  # but the cluster before has it as a neighbour: not symmetric
                return first[:0], second[:0], np.full(1, np.nan)
            size[top] = 0
            length = 0
            continue
        if position[best] == -1:
            path[length] = best
            approach[length] = highest
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
        hang(gone, kept, list_head, list_next, list_tail)
    return first[:merges], second[:merges], similarity[:merges]
