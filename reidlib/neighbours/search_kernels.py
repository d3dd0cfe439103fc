"""Numba kernels of the exact neighbour search; called by `candidates` and `search` only, which check and document.

A row keeps every column that may still belong to its `wanted` best. Approximate scores err by at most half of
margins[row], so whatever lies more than that margin below the wanted-th best approximate score is not among the true
ones. State of the rows: thresholds (n,), counts (n,), scores and columns (n, capacity), margins (n,). A row whose
candidates do not fit gets the threshold +inf: it is compared with everything in the end.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

STRIDE = 32  # scores compared at once
LANES = 4
BISECTIONS = 14


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot(x, y):
    """Inner product in an order of summation that depends on the length alone: the same bits if x and y are swapped."""
    total = np.float32(0)
    for t in range(x.shape[0]):
        total += x[t] * y[t]
    return total


@njit(cache=True, nogil=True)
def norms(rows):
    """Euclidean norms; NaN and infinity come through."""
    result = np.empty(rows.shape[0], np.float32)
    for i in range(rows.shape[0]):
        result[i] = np.sqrt(dot(rows[i], rows[i]))
    return result


@njit(cache=True, nogil=True)
def at_least(scores, threshold):
    """How many scores reach the threshold; a loop that becomes vector instructions."""
    hits = np.int32(0)
    for c in range(scores.shape[0]):
        hits += np.int32(scores[c] >= threshold)
    return hits


@njit(cache=True, nogil=True)
def bound(scores, wanted):
    """A value that at least `wanted` of the scores reach, near the wanted-th best: bisected, not sorted for."""
    low = scores[0]
    high = scores[0]
    for c in range(1, scores.shape[0]):
        low = scores[c] if scores[c] < low else low
        high = scores[c] if scores[c] > high else high
    for _ in range(BISECTIONS):
        middle = (low + high) / np.float32(2)
        if at_least(scores, middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def prune(thresholds, counts, scores, columns, margins, row, wanted):
    """Raise the row's threshold and drop the candidates below it."""
    held = scores[row, : counts[row]]
    threshold = max(bound(held, wanted) - margins[row], thresholds[row])
    left = 0
    for p in range(held.shape[0]):
        score = held[p]
        scores[row, left] = score
        columns[row, left] = columns[row, p]
        left += score >= threshold
    counts[row] = left
    thresholds[row] = threshold


@njit(cache=True, nogil=True)
def make_room(state, row, wanted):
    """Prune a row that is full; give it up when most of its room stays taken."""
    thresholds, counts, scores, columns, margins = state
    prune(thresholds, counts, scores, columns, margins, row, wanted)
    if counts[row] > scores.shape[1] - scores.shape[1] // 8:
        thresholds[row] = np.inf


@njit(cache=True, nogil=True)
def rows_reach(scores, biases, threshold):
    """How many biased scores reach the threshold; a loop that becomes vector instructions."""
    hits = np.int32(0)
    for c in range(scores.shape[0]):
        hits += np.int32(scores[c] + biases[c] >= threshold)
    return hits


@njit(cache=True, nogil=True)
def columns_reach(scores, bias, thresholds):
    """How many biased scores reach the threshold of their column."""
    hits = np.int32(0)
    for c in range(scores.shape[0]):
        hits += np.int32(scores[c] + bias >= thresholds[c])
    return hits


@njit(cache=True, nogil=True)
def raise_lanes(lanes, scores, biases):
    """The larger of each lane and its biased score; without `max`, whose care for NaN forbids vector instructions."""
    for p in range(lanes.shape[0]):
        score = scores[p] + biases[p]
        lanes[p] = score if score > lanes[p] else lanes[p]


@njit(cache=True, nogil=True)
def seed_rows(tile, biases, first_row, first_column, start, stop, state, wanted):
    """First thresholds of the rows [start, stop) that have none, so that the scan notes few columns in vain.

    The tile's columns are dealt out to LANES · wanted lanes: as many columns reach a value as have lanes that reach it.
    """
    thresholds, _, _, _, margins = state
    lanes = np.empty(LANES * (wanted + 1), np.float32)
    width = tile.shape[1] - tile.shape[1] % lanes.shape[0]
    for r in range(start, stop):
        row = first_row + r
        if width == 0 or thresholds[row] != -np.inf:
            continue
        lanes[:] = -np.inf
        for begin in range(0, width, lanes.shape[0]):
            raise_lanes(lanes, tile[r, begin : begin + lanes.shape[0]], biases[first_column + begin :])
        thresholds[row] = bound(lanes, wanted + 1) - margins[row]  # one more: the row itself may be among them


@njit(cache=True, nogil=True)
def seed_columns(tile, biases, first_row, first_column, start, stop, state, wanted):
    """The same for columns [start, stop) of a symmetric product."""
    thresholds, _, _, _, margins = state
    count = LANES * (wanted + 1)
    height = tile.shape[0] - tile.shape[0] % count
    if height == 0 or thresholds[first_column + start] != -np.inf:
        return
    lanes = np.full((count, stop - start), -np.inf, np.float32)
    for r in range(height):
        raise_lanes(lanes[r % count], tile[r, start:stop], np.full(stop - start, biases[first_row + r]))
    for c in range(start, stop):
        column = first_column + c
        thresholds[column] = bound(lanes[:, c - start].copy(), wanted + 1) - margins[column]


@njit(cache=True, nogil=True)
def scan_rows(tile, biases, first_row, first_column, offset, start, stop, state, wanted):
    """Offer the tile's columns to its rows [start, stop), but to no row itself: row 0 is column `offset`, if not -1."""
    seed_rows(tile, biases, first_row, first_column, start, stop, state, wanted)
    thresholds, counts, scores, columns, _ = state
    width = tile.shape[1]
    biases = biases[first_column : first_column + width]
    for r in range(start, stop):
        row = first_row + r
        threshold = thresholds[row]
        count = counts[row]
        for begin in range(0, width, STRIDE):
            end = min(begin + STRIDE, width)
            if rows_reach(tile[r, begin:end], biases[begin:end], threshold):
                for c in range(begin, end):
                    score = tile[r, c] + biases[c]
                    if score >= threshold and not (offset >= 0 and offset + row == first_column + c):
                        scores[row, count] = score
                        columns[row, count] = first_column + c
                        count += 1
                        if count == scores.shape[1]:
                            counts[row] = count
                            make_room(state, row, wanted)
                            threshold = thresholds[row]
                            count = counts[row]
        counts[row] = count


@njit(cache=True, nogil=True)
def scan_columns(tile, biases, first_row, first_column, start, stop, state, wanted):
    """Offer the tile's rows to its columns [start, stop): the other half of a symmetric product."""
    seed_columns(tile, biases, first_row, first_column, start, stop, state, wanted)
    thresholds, counts, scores, columns, _ = state
    limits = thresholds[first_column : first_column + tile.shape[1]]
    for r in range(tile.shape[0]):
        bias = biases[first_row + r]
        for begin in range(start, stop, STRIDE):
            end = min(begin + STRIDE, stop)
            if columns_reach(tile[r, begin:end], bias, limits[begin:end]):
                for c in range(begin, end):
                    score = tile[r, c] + bias
                    if score >= limits[c]:
                        column = first_column + c
                        count = counts[column]
                        scores[column, count] = score
                        columns[column, count] = first_row + r
                        counts[column] = count + 1
                        if count + 1 == scores.shape[1]:
                            make_room(state, column, wanted)


@njit(cache=True, nogil=True)
def insert(similarities, indices, filled, similarity, column):
    """Put a neighbour among the `filled` ones, by decreasing similarity, then ascending column."""
    size = similarities.shape[0]
    if filled == size:
        if similarity < similarities[size - 1] or (similarity == similarities[size - 1] and column > indices[size - 1]):
            return filled
        filled -= 1
    p = filled
    while p > 0 and similarities[p - 1] <= similarity:
        if similarities[p - 1] == similarity and indices[p - 1] < column:
            break
        similarities[p] = similarities[p - 1]
        indices[p] = indices[p - 1]
        p -= 1
    similarities[p] = similarity
    indices[p] = column
    return filled + 1


@njit(cache=True, nogil=True)
def settle(queries, embeddings, offset, start, stop, state, wanted, similarities, indices):
    """The best of each row's candidates by float32 products; all columns are candidates of a row that was given up.

    Where query 0 is embedding `offset` (and so on; -1: none is), each row itself comes first.
    """
    thresholds, counts, scores, columns, margins = state
    for i in range(start, stop):
        if thresholds[i] != np.inf and counts[i] > wanted:
            prune(thresholds, counts, scores, columns, margins, i, wanted)
        everything = thresholds[i] == np.inf
        filled = np.int64(0)  # not the literal, which `insert` would be compiled for once more
        first = 1 if offset >= 0 else 0
        if offset >= 0:
            similarities[i, 0] = dot(queries[i], queries[i])
            indices[i, 0] = offset + i
            if indices.shape[1] == 1:
                continue
        for p in range(embeddings.shape[0] if everything else counts[i]):
            j = p if everything else columns[i, p]
            if offset >= 0 and j == offset + i:
                continue
            similarity = dot(queries[i], embeddings[j])
            filled = insert(similarities[i, first:], indices[i, first:], filled, similarity, j)
