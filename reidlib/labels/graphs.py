"""What every method asks of a sparse distance graph: its arrays, nearest distances, quantiles, a blend with cosines.

A graph is a square CSR matrix of float32 distances in [0, 1]: symmetric, pairs that are not stored have distance 1.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from reidlib.labels import kernels
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.rows import read_only

Distances = sparse.csr_array | sparse.csr_matrix


def graph_arrays(
    distances: Distances,
) -> tuple[Int[np.ndarray, "rows"], Int[np.ndarray, "e"], Float[np.ndarray, "e"]]:
    """The graph's row starts (int64), columns (int32) and distances (float32), without a copy where they fit.

    Raises:
        ValueError: where the matrix is not square, or a stored distance is NaN or outside [0, 1].
    """
    if distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances: expected a square matrix, found {distances.shape}")
    starts = np.ascontiguousarray(distances.indptr, dtype=np.int64)
    columns = np.ascontiguousarray(distances.indices, dtype=np.int32)
    values = np.ascontiguousarray(distances.data, dtype=np.float32)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"distances: expected stored distances in [0, 1], found {values.min()} to {values.max()}; "
            "the Jaccard distance of finite unit-norm embeddings lies there"
        )
    return starts, columns, values


def kth_distances(distances: Distances, *, k: int) -> Float[np.ndarray, "n"]:
    """Each row's distance to its k-th nearest row, itself the first (k = 1 gives 0), 1 where that is not stored.

    It is the smallest eps at which the row is a core point of DBSCAN with min_samples = k.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, found {k}")
    return kernels.kth_distances(*graph_arrays(distances), k)


def pair_quantile(distances: Distances, *, quantile: float | int) -> float:
    """The quantile of the n(n-1)/2 pairwise distances, those not stored counted as 1 (numpy's linear interpolation).

    Raises:
        ValueError: where the quantile is outside [0, 1] or there is no pair.
    """
    n = distances.shape[0]
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile: expected a share in [0, 1], found {quantile}")
    if n < 2:
        raise ValueError(f"quantile: expected at least two rows, found {n}: there is no pair to take it of")
    stored = kernels.upper_distances(*graph_arrays(distances))
    position = quantile * (n * (n - 1) // 2 - 1)
    below = int(position)
    if below >= len(stored):
        return 1.0
    stored = np.partition(stored, [below, min(below + 1, len(stored) - 1)])
    lower = float(stored[below])
    upper = float(stored[below + 1]) if below + 1 < len(stored) else 1.0
    return lower + (upper - lower) * (position - below)


def blend(
    distances: Distances,
    embeddings: Float[np.ndarray, "n d"],
    *,
    original_weight: float,
    largest: Float[np.ndarray, "n"] | None = None,
) -> sparse.csr_array:
    """(1 - λ) · Jaccard + λ · (1 - cosine), the original distance cut to [0, 1] [Zhong et al., CVPR 2017].

    Deviation: pairs that the graph does not store stay at 1, where the paper blends 1 with their original distance; so
    the graph stays sparse, and pairs without a common neighbour are as far apart as can be.

    With `largest` (`search.largest_distances`) the original distance is that share of the largest of the pair's lower
    row, as the published code of IIDS has it: it divides each row's distances by the largest, and clusters by the upper
    triangle.

    The embeddings are the unit-norm rows that the graph was made of; λ = 0 gives the graph itself. Zeros stand on the
    diagonal only, and the result is symmetric to the bit where `distances` is.

    Raises:
        ValueError: where λ is no share.
    """
    if not 0 <= original_weight <= 1:
        raise ValueError(f"original_weight: expected a share in [0, 1], found {original_weight}")
    if original_weight == 0:
        return sparse.csr_array(distances)
    starts, columns, values = graph_arrays(distances)
    rows = read_only(embeddings)
    result = np.empty_like(values)
    divisor = np.ones(len(rows)) if largest is None else largest.astype(np.float64) / 2
    each_block(
        lambda *block: kernels.blend(starts, columns, values, rows, original_weight, divisor, *block, result), len(rows)
    )
    return sparse.csr_array((result, distances.indices, distances.indptr), shape=distances.shape)


def block_diagonal(n: int, blocks: Sequence[tuple[Int[np.ndarray, "_"], Distances]]) -> sparse.csr_array:
    """The graph of n rows that has each block's distances between the block's rows and stores nothing else.

    A block is (rows in increasing order, graph over them), no row in two; rows in none store their diagonal alone.
    """
    counts = np.ones(n, dtype=np.int64)
    for rows, block in blocks:
        counts[rows] = np.diff(block.indptr)
    starts = np.concatenate([[0], np.cumsum(counts)])
    columns = np.empty(starts[-1], dtype=np.int32)
    values = np.zeros(starts[-1], dtype=np.float32)
    columns[starts[:-1]] = np.arange(n)  # overwritten where the row is in a block
    for rows, block in blocks:
        inside = np.arange(block.nnz) - np.repeat(block.indptr[:-1] - starts[rows], np.diff(block.indptr))
        columns[inside] = rows[block.indices]
        values[inside] = block.data
    starts = starts.astype(np.int32) if starts[-1] < 2**31 else starts
    columns = columns if starts.dtype == np.int32 else columns.astype(np.int64)
    return sparse.csr_array((values, columns, starts), shape=(n, n))
