"""Numba kernels of the sparse k-reciprocal Jaccard distance; called by modules that check.

All work on a block of rows [start, stop), write to these rows alone and release the GIL. Common arguments: `indices`
(n, k1) int32, the rows nearest to each, itself first; `half` = round(k1 / 2) + 1; rows and inverted lists as the
triples of `weights` (pointers int64, rows or columns int32, weights float32). A `mark` is a dense array of n entries
owned by the block: each row writes values that nobody before it wrote, so it is never cleared.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import numpy as np
from numba import njit

from reidlib.neighbours.search_kernels import dot

TINY = np.float32(2.0**-24)  # what a pair of duplicates is stored as: exact zeros are kept for the diagonal


@njit(cache=True, nogil=True)
def reciprocal(indices, half, start, stop, kept, kept_count, kept_half, kept_half_count):
    """Steps 1 and 2: K(i) to `kept` (n, k1), K_h(i) to `kept_half` (n, half), in the order of R(i), and their sizes."""
    k1 = indices.shape[1]
    for i in range(start, stop):
        full = 0
        near = 0
        for p in range(k1):
            j = indices[i, p]
            for q in range(k1):
                if indices[j, q] == i:
                    kept[i, full] = j
                    full += 1
                    if p < half and q < half:
                        kept_half[i, near] = j
                        near += 1
                    break
        kept_count[i] = full
        kept_half_count[i] = near


@njit(cache=True, nogil=True)
def expand(kept, kept_count, kept_half, kept_half_count, i, mark, members):
    """Step 3 for one row: E(i) to `members`, K(i) first; return its size."""
    size = 0
    for p in range(kept_count[i]):
        members[size] = kept[i, p]
        mark[kept[i, p]] = 2 * i
        size += 1
    for p in range(kept_count[i]):
        c = kept[i, p]
        shared = 0
        for q in range(kept_half_count[c]):
            shared += mark[kept_half[c, q]] == 2 * i
        if 3 * shared > 2 * kept_half_count[c]:
            for q in range(kept_half_count[c]):
                j = kept_half[c, q]
                if mark[j] >> 1 != i:
                    mark[j] = 2 * i + 1
                    members[size] = j
                    size += 1
    return size


@njit(cache=True, nogil=True)
def expanded_sizes(kept, kept_count, kept_half, kept_half_count, start, stop, sizes):
    """|E(i)| of each row."""
    mark = np.full(kept.shape[0], -1, np.int64)
    members = np.empty(kept.shape[1] * (kept_half.shape[1] + 1), np.int32)
    for i in range(start, stop):
        sizes[i] = expand(kept, kept_count, kept_half, kept_half_count, i, mark, members)


@njit(cache=True, nogil=True)
def expanded_weights(embeddings, indices, similarities, largest, sets, start, stop, rows, squares):
    """Step 4: the rows of V.

    Similarities of R(i) are reused where given (width > 0). Distances of row i are divided by largest[i]. squares[i]
    becomes x_i·x_i, to check the norms with.
    """
    kept, kept_count, kept_half, kept_half_count = sets
    indptr, columns, weights = rows
    n = kept.shape[0]
    known = similarities.shape[1]
    mark = np.full(n, -1, np.int64)
    owner = np.full(n, -1, np.int32)
    place = np.empty(n, np.int32)
    members = np.empty(kept.shape[1] * (kept_half.shape[1] + 1), np.int32)
    for i in range(start, stop):
        size = expand(kept, kept_count, kept_half, kept_half_count, i, mark, members)
        for p in range(known):
            owner[indices[i, p]] = i
            place[indices[i, p]] = p
        base = indptr[i]
        total = np.float32(0)
        for p in range(size):
            j = members[p]
            s = similarities[i, place[j]] if owner[j] == i else dot(embeddings[i], embeddings[j])
            if j == i:
                squares[i] = s
            w = np.exp((np.float32(2) * s - np.float32(2)) / largest[i])
            total += w
            columns[base + p] = j
            weights[base + p] = w
        for p in range(size):
            weights[base + p] /= total


@njit(cache=True, nogil=True)
def averaged_sizes(indices, k2, rows, start, stop, sizes):
    """Number of entries of each row after step 5."""
    indptr, columns, _ = rows
    mark = np.full(indices.shape[0], -1, np.int32)
    for i in range(start, stop):
        size = 0
        for r in range(k2):
            row = indices[i, r]
            for p in range(indptr[row], indptr[row + 1]):
                if mark[columns[p]] != i:
                    mark[columns[p]] = i
                    size += 1
        sizes[i] = size


@njit(cache=True, nogil=True)
def average(indices, k2, rows, start, stop, mean):
    """Step 5: V(i) = mean of V over the first k2 entries of R(i), from `rows` to `mean`."""
    old_indptr, old_columns, old_weights = rows
    indptr, columns, weights = mean
    mark = np.full(indices.shape[0], -1, np.int32)
    place = np.empty(indices.shape[0], np.int64)
    for i in range(start, stop):
        end = indptr[i]
        for r in range(k2):
            row = indices[i, r]
            for p in range(old_indptr[row], old_indptr[row + 1]):
                j = old_columns[p]
                if mark[j] != i:
                    mark[j] = i
                    place[j] = end
                    columns[end] = j
                    weights[end] = old_weights[p]
                    end += 1
                else:
                    weights[place[j]] += old_weights[p]
        for p in range(indptr[i], end):
            weights[p] /= np.float32(k2)


@njit(cache=True, nogil=True)
def transpose(indptr, columns, weights, lists, places):
    """Fill the inverted lists, whose heads are known; places[p] = where the entry p stands in its list."""
    heads, rows, values = lists
    filled = np.zeros(heads.shape[0] - 1, np.int32)
    for i in range(indptr.shape[0] - 1):
        for p in range(indptr[i], indptr[i + 1]):
            j = columns[p]
            place = filled[j]
            filled[j] = place + 1
            places[p] = place
            rows[heads[j] + place] = i
            values[heads[j] + place] = weights[p]


@njit(cache=True, nogil=True)
def overlap(triple, places, lists, start, stop, max_distance, counts, columns, distances):
    """Step 6 for the pairs i < j: s(i, j) along the inverted lists, then the distances to keep, columns ascending.

    Stops before a row that the buffers cannot take; returns (the row it stopped at, entries used, entries it needs).
    """
    indptr, keys, weights = triple
    heads, rows, values = lists
    n = indptr.shape[0] - 1
    total = np.zeros(n, np.float32)
    touched = np.empty(n + 1, np.int32)
    used = 0
    # s >= 2 (1 - max_distance) / (2 - max_distance), less a margin for rounding; the distance itself decides
    least = np.float32(2 * (1 - max_distance) / (2 - max_distance) - 1e-5)
    for i in range(start, stop):
        size = 0
        for p in range(indptr[i], indptr[i + 1]):
            k = keys[p]
            weight = weights[p]
            for q in range(heads[k] + places[p] + 1, heads[k + 1]):
                j = rows[q]
                before = total[j]
                touched[size] = j
                size += before == 0
                total[j] = before + min(weight, values[q])
        kept = 0
        for t in range(size):  # survivors move to the front of `touched`, the others' sums are cleared
            j = touched[t]
            touched[kept] = j
            if total[j] >= least:
                kept += 1
            else:
                total[j] = 0
        if used + kept > columns.shape[0]:
            return i, used, kept
        chosen = touched[:kept]
        chosen.sort()
        first = used
        for t in range(kept):
            j = chosen[t]
            distance = max(np.float32(1) - total[j] / (np.float32(2) - total[j]), TINY)
            total[j] = 0
            if distance <= max_distance and distance < 1:
                columns[used] = j
                distances[used] = distance
                used += 1
        counts[i] = used - first
    return stop, used, 0


@njit(cache=True, nogil=True)
def overlap_tile(triple, lists, weight, start, stop, scores):
    """Step 6 for the tile's rows [start, stop) against all listed rows; `triple` begins with the tile's first row.

    scores (rows of the tile, listed rows): comes in as what is added to (1 - weight) · distance, leaves as minus the
    sum.
    """
    indptr, keys, weights = triple
    heads, rows, values = lists
    total = np.empty(scores.shape[1], np.float32)
    for i in range(start, stop):
        total[:] = 0
        for p in range(indptr[i], indptr[i + 1]):
            k = keys[p]
            entry = weights[p]
            for q in range(heads[k], heads[k + 1]):
                total[rows[q]] += min(entry, values[q])
        for j in range(scores.shape[1]):
            distance = max(np.float32(1) - total[j] / (np.float32(2) - total[j]), np.float32(0))
            scores[i, j] = -(np.float32(1) - weight) * distance - scores[i, j]


@njit(cache=True, nogil=True)
def count_columns(columns, counts):
    """Add to counts[j] how often j stands in `columns`."""
    for p in range(columns.shape[0]):
        counts[columns[p]] += 1


@njit(cache=True, nogil=True)
def mirror(start, stop, above, upper_columns, upper_distances, indptr, lower_end, columns, distances):
    """Write the upper entries of rows [start, stop) to both triangles; blocks must come in ascending order.

    above[i]: number of upper entries of row i; lower_end[j]: where row j's next entry left of the diagonal goes.
    """
    p = 0
    for i in range(start, stop):
        place = indptr[i + 1] - above[i]
        columns[place - 1] = i
        distances[place - 1] = 0
        for t in range(above[i]):
            j = upper_columns[p]
            columns[place + t] = j
            distances[place + t] = upper_distances[p]
            columns[lower_end[j]] = i
            distances[lower_end[j]] = upper_distances[p]
            lower_end[j] += 1
            p += 1
