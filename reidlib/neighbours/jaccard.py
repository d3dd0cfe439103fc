"""The k-reciprocal Jaccard distance as a sparse graph [Zhong et al., CVPR 2017, arXiv:1701.08398].

Time and memory grow with the number of stored pairs; nothing of size n × n is ever allocated.
"""

import numpy as np
from jaxtyping import Float, Float32, Int32
from scipy.sparse import csr_array

from reidlib.neighbours import kernels
from reidlib.neighbours.blocks import row_blocks, run_blocks
from reidlib.neighbours.search import nearest
from reidlib.neighbours.weights import Rows, check_k1, inverted_lists, neighbour_weights, pointers

BUFFER_ENTRIES = 1 << 21  # pairs to a buffer of the last step; memory pages not written to cost nothing


def jaccard_distance(embeddings: Float[np.ndarray, "n d"], *, k1: int, k2: int, max_distance: float = 1.0) -> csr_array:
    """`jaccard_from_neighbours`, which see, of the exact k1 nearest neighbours by inner product."""
    check_k1(k1, len(embeddings))
    similarities, indices = nearest(embeddings, k=k1)
    return jaccard_from_neighbours(embeddings, indices, k2=k2, max_distance=max_distance, similarities=similarities)


def jaccard_from_neighbours(
    embeddings: Float[np.ndarray, "n d"],
    indices: Int32[np.ndarray, "rows k1"],
    *,
    k2: int,
    max_distance: float = 1.0,
    similarities: Float32[np.ndarray, "known k"] | None = None,
    largest: Float32[np.ndarray, "n"] | None = None,
) -> csr_array:
    """Distances between all rows by the overlap of their k-reciprocal neighbours, their nearest rows being known.

    [Zhong et al., CVPR 2017, arXiv:1701.08398]: k-reciprocal sets, expanded by the half-sized sets of their members
    that lie in them by more than two thirds; weights = softmax of −(2 − 2·xᵢ·xⱼ) over the expanded set, averaged over
    the first k2 neighbours; distance = 1 − s / (2 − s), s being the sum over the smaller weights. Where the paper
    leaves k1 open, the row itself counts as one of its k1 neighbours. The same bits come out for any number of threads.

    Args:
        embeddings: unit-norm rows.
        indices: the k1 nearest rows of each row by decreasing similarity, itself first, as from `search.nearest`.
        k2: rows to average over, the row itself included; 1 (no averaging) <= k2 <= k1.
        max_distance: pairs further apart are not stored.
        similarities: inner products that belong to `indices`, to save computing them again.
        largest: what the squared distances of each row are divided by before the softmax; 1 without.

    Returns:
        A symmetric (n, n) float32 matrix with sorted columns. Stored are the distances below 1 and not above
        max_distance; exact zeros stand on the diagonal only (rows with equal neighbourhoods are 2⁻²⁴ apart).

    Raises:
        ValueError: shapes that do not belong together, a row that is not first among its neighbours, values out of
            range, embeddings that are not finite unit-norm rows.
    """
    if not 0 <= max_distance <= 1:
        raise ValueError(f"jaccard: expected max_distance in [0, 1], got {max_distance}")
    weights = neighbour_weights(embeddings, indices, k2=k2, similarities=similarities, largest=largest)
    return overlap_distances(weights, max_distance)


_Upper = tuple[int, int, Int32[np.ndarray, "_"], Float32[np.ndarray, "_"]]
"""Entries right of the diagonal: of the rows from start to stop their columns and distances."""


def overlap_distances(rows: Rows, max_distance: float) -> csr_array:
    """Step 6: the distances 1 - s / (2 - s) of all pairs that share an entry, s being the sum over the smaller weights.

    Args:
        rows: sparse weights whose rows sum to 1, columns of a row in any order.
        max_distance: pairs further apart are not stored.
    """
    n = len(rows.indptr) - 1
    lists, places = inverted_lists(rows)
    above = np.empty(n, np.int32)

    def pairs(start: int, stop: int) -> list[_Upper]:
        parts, capacity = [], BUFFER_ENTRIES
        while start < stop:
            columns, distances = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
            end, used, needed = kernels.overlap(
                rows, places, lists, start, stop, max_distance, above, columns, distances
            )
            parts.append((start, end, columns[:used], distances[:used]))
            start, capacity = end, max(BUFFER_ENTRIES, needed)
        return parts

    return _symmetric([part for block in run_blocks(pairs, row_blocks(n)) for part in block], above)


def _symmetric(parts: list[_Upper], above: Int32[np.ndarray, "n"]) -> csr_array:
    """Both triangles and the diagonal, from the upper entries of all rows."""
    n = len(above)
    below = np.zeros(n, np.int64)
    for _, _, upper, _ in parts:
        kernels.count_columns(upper, below)
    indptr = pointers(below + above + 1)
    columns, distances = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    lower_end = indptr[:-1].copy()
    for start, stop, *upper_part in parts:
        kernels.mirror(start, stop, above, *upper_part, indptr, lower_end, columns, distances)
    starts = indptr.astype(np.int32) if indptr[-1] < 2**31 else indptr
    matrix = csr_array((distances, columns, starts), shape=(n, n))
    matrix.has_sorted_indices = True
    return matrix
