"""Exact nearest neighbours on a CPU: candidates by a fast matrix product, settled by float32 inner products.

The product may be of low precision (bfloat16, where the processor multiplies it): its error has a bound (see
`_Factors`), and every column that the bound leaves in play becomes a candidate, so that the result is exact. Of a
symmetric product only one half is computed.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from reidlib.neighbours import search_kernels as kernels
from reidlib.neighbours.blocks import row_blocks, run_blocks
from reidlib.progress import progress

TILE_ROWS = 2048
BLOCK_ROWS = 4096
SPARE = 8  # what faiss is asked for beyond k, so that near-ties at the border are seen


class _State(NamedTuple):
    """The rows' candidates, as `search_kernels` describes them."""

    thresholds: Float32[np.ndarray, "n"]
    counts: Int32[np.ndarray, "n"]
    scores: Float32[np.ndarray, "n capacity"]
    columns: Int32[np.ndarray, "n capacity"]
    margins: Float32[np.ndarray, "n"]


class _Factors(NamedTuple):
    """What stands for the embeddings in the product: x_i·x_j = factors_i·factors_j + biases_i + biases_j + constant.

    Rows are centred before they are rounded (embeddings of a network often share most of their direction), which
    shrinks the rounding errors with them. By the Cauchy-Schwarz inequality a product errs by at most
    errors_i·norms_j + norms_i·errors_j + (length·2⁻²⁴ + rounding of the result)·norms_i·norms_j.
    """

    factors: Tensor
    biases: Float32[np.ndarray, "n"]
    norms: Float32[np.ndarray, "n"]
    errors: Float32[np.ndarray, "n"]


def nearest_by_candidates(
    embeddings: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"] | None, *, k: int, bfloat16: bool
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k nearest embeddings of each query, or of each embedding, itself first; see `search.nearest`.

    Memory beyond the result: half the size of the embeddings (all of it in float32), 24 k + 512 bytes to a row, a tile.
    """
    same = queries is None
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    mean = embeddings.mean(0) if bfloat16 else np.zeros(embeddings.shape[1], np.float32)
    columns = _factors(embeddings, mean, dtype)
    rows = columns if queries is None else _factors(queries, mean, dtype)
    n, wanted = len(rows.factors), max(k - same, 1)
    capacity = 3 * wanted + 64
    state = _State(
        np.full(n, -np.inf, np.float32),
        np.zeros(n, np.int32),
        np.empty((n, capacity), np.float32),
        np.empty((n, capacity), np.int32),
        _margins(rows, columns),
    )
    for top in progress(range(0, n, TILE_ROWS), "nearest neighbours"):
        for left in range(top if same else 0, len(embeddings), TILE_ROWS):
            _offer(rows, columns, (top, left), same, state, wanted)
    return _settled(embeddings, queries, state, wanted, k)


def nearest_by_faiss(
    embeddings: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"] | None, *, k: int
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The same from faiss's flat index; raises ModuleNotFoundError where faiss is not installed."""
    import faiss

    n, d = embeddings.shape
    asked = embeddings if queries is None else queries
    taken = min(k + SPARE, n)
    scores, columns = np.empty((len(asked), taken), np.float32), np.empty((len(asked), taken), np.int32)
    index = faiss.IndexFlatIP(d)
    index.add(embeddings)
    for start in progress(range(0, len(asked), BLOCK_ROWS), "nearest neighbours"):
        rows = slice(start, start + BLOCK_ROWS)
        scores[rows], columns[rows] = index.search(asked[rows], taken)
    margin = 2 * (d * 2.0**-23 + 1e-6)
    unsure = (scores[:, -1] >= scores[:, k - 1] - margin) & (taken < n)
    thresholds = np.where(unsure, np.float32(np.inf), np.float32(-np.inf))
    counts, margins = np.full(len(asked), taken, np.int32), np.full(len(asked), margin, np.float32)
    return _settled(embeddings, queries, _State(thresholds, counts, scores, columns, margins), taken, k)


def _factors(embeddings: Float32[np.ndarray, "n d"], mean: Float32[np.ndarray, "d"], dtype: torch.dtype) -> _Factors:
    n, d = embeddings.shape
    factors = torch.empty((n, d), dtype=dtype)
    biases, norms, errors = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)

    def fill(start: int, stop: int) -> None:
        centred = embeddings[start:stop] - mean
        factors[start:stop] = torch.from_numpy(centred)
        biases[start:stop] = embeddings[start:stop] @ mean
        norms[start:stop] = kernels.norms(centred)
        centred -= factors[start:stop].float().numpy()
        errors[start:stop] = kernels.norms(centred)

    for _ in run_blocks(fill, row_blocks(n, size=512)):
        pass
    return _Factors(factors, biases, norms, errors)


def _margins(rows: _Factors, columns: _Factors) -> Float32[np.ndarray, "n"]:
    """Twice the most that the approximate scores of each row can err by."""
    length = rows.factors.shape[1]
    rounding = length * 2.0**-24 + (2.0**-9 if rows.factors.dtype == torch.bfloat16 else 2.0**-24)
    worst = columns.errors.max()
    largest = columns.norms.max() + worst
    error = rows.errors * largest + rows.norms * worst + rounding * (rows.norms + rows.errors) * largest
    return (2 * (1.01 * error + length * 2.0**-24 + 1e-6)).astype(np.float32)


def _offer(rows: _Factors, columns: _Factors, corner: tuple[int, int], same: bool, state: _State, wanted: int) -> None:
    """Compute one tile of the product and offer it to its rows; where it is symmetric, to its columns too."""
    top, left = corner
    product = torch.mm(rows.factors[top : top + TILE_ROWS], columns.factors[left : left + TILE_ROWS].T)
    tile = product.float().numpy()
    across = run_blocks(
        lambda start, stop: kernels.scan_rows(tile, columns.biases, top, left, same, start, stop, state, wanted),
        row_blocks(tile.shape[0], size=256),
    )
    for _ in across:
        pass
    if same and left > top:
        down = run_blocks(
            lambda start, stop: kernels.scan_columns(tile, rows.biases, top, left, start, stop, state, wanted),
            row_blocks(tile.shape[1], size=256),
        )
        for _ in down:
            pass


def _settled(
    embeddings: Float32[np.ndarray, "n d"],
    queries: Float32[np.ndarray, "q d"] | None,
    state: _State,
    wanted: int,
    k: int,
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k best of each row's candidates, by inner products that are the same whatever found the candidates."""
    same = queries is None
    sources = embeddings if queries is None else queries
    n = len(sources)
    similarities, indices = np.empty((n, k), np.float32), np.empty((n, k), np.int32)
    done = run_blocks(
        lambda start, stop: kernels.settle(
            sources, embeddings, same, start, stop, state, wanted, similarities, indices
        ),
        row_blocks(n, size=256),
    )
    for _ in done:
        pass
    return similarities, indices
