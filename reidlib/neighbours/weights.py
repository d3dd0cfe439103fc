"""Steps 1 to 5 of the k-reciprocal Jaccard distance: each row's weights over its expanded reciprocal neighbours.

[Zhong et al., CVPR 2017, arXiv:1701.08398]. Shared by `jaccard` (all pairs, sparse) and by re-ranking (tiles).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from reidlib.neighbours import kernels
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.rows import NORM_TOLERANCE, check_norms, read_only


class Rows(NamedTuple):
    """A sparse matrix by rows: the entries indptr[i]..indptr[i + 1] belong to row i."""

    indptr: Int64[np.ndarray, "rows_and_one"]
    columns: Int32[np.ndarray, "entries"]
    weights: Float32[np.ndarray, "entries"]


class Lists(NamedTuple):
    """Inverted lists of `Rows`: heads[k]..heads[k + 1] are the rows that have an entry in column k, ascending."""

    heads: Int64[np.ndarray, "columns_and_one"]
    rows: Int32[np.ndarray, "entries"]
    weights: Float32[np.ndarray, "entries"]


def neighbour_weights(
    embeddings: Float[np.ndarray, "n d"],
    indices: Int32[np.ndarray, "rows k1"],
    *,
    k2: int,
    similarities: Float32[np.ndarray, "known k"] | None = None,
    half: int | None = None,
    largest: Float32[np.ndarray, "n"] | None = None,
) -> Rows:
    """The weights V of each row over its k-reciprocal neighbours, expanded, then averaged over its k2 nearest rows.

    The expanded set E(i) contains K(i) itself; weights = softmax over E(i) of −(2 − 2·xᵢ·xⱼ).

    Args:
        embeddings: unit-norm rows.
        indices: the k1 nearest rows of each row, the row itself first; 1 <= k1 < n.
        k2: rows to average over, the row itself included; 1 (no averaging) <= k2 <= k1.
        similarities: inner products that belong to `indices`, to save computing them again.
        half: how many neighbours make the half-sized sets; round(k1 / 2) + 1 without.
        largest: what the distances of each row are divided by, above 0; 1 without.

    Returns:
        A sparse n × n matrix whose rows sum to 1; columns in an order that depends on the input alone.

    Raises:
        ValueError: shapes that do not belong together, neighbours that are no rows, a row that is not its own first
            neighbour, k1 or k2 out of range, embeddings that are not finite unit-norm rows.
    """
    _check_neighbours(embeddings, indices, k2)
    n = len(indices)
    if similarities is None:
        similarities = np.empty((n, 0), np.float32)
    elif similarities.shape != indices.shape:
        raise ValueError(f"jaccard: similarities {similarities.shape} do not belong to neighbours {indices.shape}")
    similarities, indices = np.ascontiguousarray(similarities), np.ascontiguousarray(indices)
    largest = np.ones(n, np.float32) if largest is None else largest
    half = min(round(indices.shape[1] / 2) + 1 if half is None else half, indices.shape[1])
    rows = _reciprocal_weights(read_only(embeddings), indices, similarities, half=half, largest=largest)
    return _average(rows, indices, k2) if k2 > 1 else rows


def inverted_lists(rows: Rows, *, first: int = 0) -> tuple[Lists, Int32[np.ndarray, "entries"]]:
    """The inverted lists of the rows from `first` on (numbered from 0), and the place of each entry in its list."""
    begin = rows.indptr[first]
    columns, weights = rows.columns[begin:], rows.weights[begin:]
    heads = pointers(np.bincount(columns, minlength=len(rows.indptr) - 1))
    lists = Lists(heads, np.empty_like(columns), np.empty_like(weights))
    places = np.empty_like(columns)
    kernels.transpose(rows.indptr[first:] - begin, columns, weights, lists, places)
    return lists, places


def pointers(sizes: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "rows_and_one"]:
    """Where each row begins, for rows of these sizes, and where the last one ends."""
    indptr = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=indptr[1:])
    return indptr


def check_k1(k1: int, n: int) -> None:
    """Refuse a number of neighbours that so many rows do not have."""
    if not 1 <= k1 < n:
        raise ValueError(f"jaccard: expected 1 <= k1 < n, got k1={k1} and n={n}; lower k1 or pass more images")


def _check_neighbours(embeddings: Float[np.ndarray, "n d"], indices: Int32[np.ndarray, "rows k1"], k2: int) -> None:
    """Refuse neighbours that do not belong to the embeddings, and numbers of them out of range."""
    n, k1 = len(embeddings), indices.shape[1]
    if indices.shape[0] != n:
        raise ValueError(f"jaccard: {indices.shape[0]} rows of neighbours for {n} embeddings; pass one row for each")
    check_k1(k1, n)
    if not 1 <= k2 <= k1:
        raise ValueError(f"jaccard: expected 1 <= k2 <= k1={k1}, got k2={k2}; lower k2")
    lowest, highest = int(indices.min()), int(indices.max())
    if lowest < 0 or highest >= n:
        raise ValueError(f"jaccard: neighbours must be rows 0..{n - 1}, found {lowest}..{highest}")
    strangers = np.flatnonzero(indices[:, 0] != np.arange(n))
    if len(strangers):
        raise ValueError(
            f"jaccard: row {strangers[0]} is not its own first neighbour; put each row first, as search.nearest does"
        )


def _reciprocal_weights(
    embeddings: Float32[np.ndarray, "n d"],
    indices: Int32[np.ndarray, "n k1"],
    similarities: Float32[np.ndarray, "n known"],
    *,
    half: int,
    largest: Float32[np.ndarray, "n"],
) -> Rows:
    """Steps 1 to 4."""
    n, k1 = indices.shape
    sets = (np.empty((n, k1), np.int32), np.empty(n, np.int32), np.empty((n, half), np.int32), np.empty(n, np.int32))
    each_block(lambda start, stop: kernels.reciprocal(indices, half, start, stop, *sets), n)
    sizes = np.empty(n, np.int64)
    each_block(lambda start, stop: kernels.expanded_sizes(*sets, start, stop, sizes), n)
    indptr = pointers(sizes)
    rows = Rows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    squares = np.empty(n, np.float32)
    each_block(
        lambda start, stop: kernels.expanded_weights(
            embeddings, indices, similarities, largest, sets, start, stop, rows, squares
        ),
        n,
    )
    check_norms(np.sqrt(squares), "jaccard: embeddings", tolerance=1.05 * NORM_TOLERANCE)
    return rows


def _average(rows: Rows, indices: Int32[np.ndarray, "n k1"], k2: int) -> Rows:
    """Step 5: each row of V becomes the mean of V over its first k2 neighbours."""
    n = len(indices)
    sizes = np.empty(n, np.int64)
    each_block(lambda start, stop: kernels.averaged_sizes(indices, k2, rows, start, stop, sizes), n)
    indptr = pointers(sizes)
    mean = Rows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    each_block(lambda start, stop: kernels.average(indices, k2, rows, start, stop, mean), n)
    return mean
