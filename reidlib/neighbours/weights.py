"""Steps 1 to 5 of the k-reciprocal Jaccard distance: each row's weights over its expanded reciprocal neighbours.

[Zhong et al., CVPR 2017, arXiv:1701.08398]. Shared by `jaccard` (all pairs, sparse) and by re-ranking (tiles).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from reidlib.neighbours import kernels
from reidlib.neighbours.blocks import row_blocks, run_blocks
from reidlib.neighbours.candidates import NORM_TOLERANCE


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
    indices: Int32[np.ndarray, "n k1"],
    *,
    k2: int,
    similarities: Float32[np.ndarray, "n k1"] | None = None,
    scales: Float32[np.ndarray, "n"] | None = None,
) -> Rows:
    """The weights V of each row over its k-reciprocal neighbours, expanded, then averaged over its k2 nearest rows.

    The expanded set E(i) contains K(i) itself; weights = softmax over E(i) of −(2 − 2·xᵢ·xⱼ) / scales[i].

    Args:
        embeddings: unit-norm rows.
        indices: the k1 nearest rows of each row, the row itself first; 1 <= k1 < n.
        k2: rows to average over, the row itself included; 1 (no averaging) <= k2 <= k1.
        similarities: inner products that belong to `indices`, to save computing them again.
        scales: positive divisors of each row's squared distances; 1 by default.

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
    values = (np.ascontiguousarray(similarities), np.ones(n, np.float32) if scales is None else scales)
    indices = np.ascontiguousarray(indices)
    rows = _reciprocal_weights(np.ascontiguousarray(embeddings, np.float32), indices, values)
    return _averaged(rows, indices, k2) if k2 > 1 else rows


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


def _check_neighbours(embeddings: Float[np.ndarray, "n d"], indices: Int32[np.ndarray, "rows k1"], k2: int) -> None:
    n = len(embeddings)
    k1 = indices.shape[1]
    if indices.shape[0] != n:
        raise ValueError(f"jaccard: {indices.shape[0]} rows of neighbours for {n} embeddings; pass one row for each")
    if not 1 <= k1 < n:
        raise ValueError(f"jaccard: expected 1 <= k1 < n, got k1={k1} and n={n}; lower k1 or pass more images")
    if not 1 <= k2 <= k1:
        raise ValueError(f"jaccard: expected 1 <= k2 <= k1={k1}, got k2={k2}; lower k2")
    if indices.min() < 0 or indices.max() >= n:
        raise ValueError(f"jaccard: neighbours must be rows 0..{n - 1}, found {indices.min()}..{indices.max()}")
    strangers = np.flatnonzero(indices[:, 0] != np.arange(n))
    if len(strangers):
        raise ValueError(
            f"jaccard: row {strangers[0]} is not its own first neighbour; put each row first, as search.nearest does"
        )


def _fill(kernel: Callable[[int, int], None], n: int) -> None:
    for _ in run_blocks(kernel, row_blocks(n)):
        pass


def _reciprocal_weights(
    embeddings: Float32[np.ndarray, "n d"],
    indices: Int32[np.ndarray, "n k1"],
    values: tuple[Float32[np.ndarray, "n known"], Float32[np.ndarray, "n"]],
) -> Rows:
    """Steps 1 to 4; `values` are the similarities and the scales."""
    n, k1 = indices.shape
    half = min(round(k1 / 2) + 1, k1)
    sets = (np.empty((n, k1), np.int32), np.empty(n, np.int32), np.empty((n, half), np.int32), np.empty(n, np.int32))
    _fill(lambda start, stop: kernels.reciprocal(indices, half, start, stop, *sets), n)
    sizes = np.empty(n, np.int64)
    _fill(lambda start, stop: kernels.expanded_sizes(*sets, start, stop, sizes), n)
    indptr = pointers(sizes)
    rows = Rows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    squares = np.empty(n, np.float32)
    _fill(
        lambda start, stop: kernels.expanded_weights(embeddings, indices, values, sets, start, stop, rows, squares), n
    )
    wrong = np.flatnonzero(~(np.abs(squares - 1) <= 2.1 * NORM_TOLERANCE))
    if len(wrong):
        raise ValueError(
            f"jaccard: embeddings must be finite rows of norm 1, but row {wrong[0]} has squared norm "
            f"{squares[wrong[0]]:.4g}; divide each row by its norm, and look for images whose embedding is NaN or 0"
        )
    return rows


def _averaged(rows: Rows, indices: Int32[np.ndarray, "n k1"], k2: int) -> Rows:
    """Step 5: each row of V becomes the mean of V over its first k2 neighbours."""
    n = len(indices)
    sizes = np.empty(n, np.int64)
    _fill(lambda start, stop: kernels.averaged_sizes(indices, k2, rows, start, stop, sizes), n)
    indptr = pointers(sizes)
    mean = Rows(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    _fill(lambda start, stop: kernels.average(indices, k2, rows, start, stop, mean), n)
    return mean
