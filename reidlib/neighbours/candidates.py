"""Exact nearest neighbours on a CPU: candidates by a fast matrix product, settled by float32 inner products.

The product may be of low precision (bfloat16, where the processor multiplies it): its error has a bound (see
`_Factors`), and every column that the bound leaves in play becomes a candidate, so that the result is exact. Of a
symmetric product only one half is computed.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from reidlib.neighbours import search_kernels as kernels
from reidlib.neighbours.blocks import each_block, row_blocks, run_blocks
from reidlib.progress import progress

NORM_TOLERANCE = 0.01
TILE_ROWS = 2048
LEAST_TILE_ROWS = 512  # smaller ones would save more of a symmetric product than their handling takes


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
    embeddings: Float32[np.ndarray, "n d"],
    queries: Float32[np.ndarray, "q d"] | None,
    *,
    k: int,
    bfloat16: bool,
    rows: range | None = None,
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k nearest embeddings of each query, or of each embedding (in `rows`), itself first; see `search.nearest`.

    Memory beyond the result: half the size of the embeddings (none in float32), 24 k + 512 bytes to a row, a tile.
    """
    part = range(len(embeddings)) if rows is None else rows
    asked, own = (embeddings[part.start : part.stop], part.start) if queries is None else (queries, -1)
    whole = own == 0 and len(asked) == len(embeddings)
    mean = embeddings.mean(0) if bfloat16 else None
    columns = _factors(embeddings, mean)
    factors = columns if whole else _factors(asked, mean)
    n, wanted = len(asked), max(k - (own >= 0), 1)
    capacity = 3 * wanted + 64
    state = _State(
        np.full(n, -np.inf, np.float32),
        np.zeros(n, np.int32),
        np.empty((n, capacity), np.float32),
        np.empty((n, capacity), np.int32),
        _margins(factors, columns),
    )
    tile = min(TILE_ROWS, max(LEAST_TILE_ROWS, -(-n // 3)))
    for top in progress(range(0, n, tile), "nearest neighbours"):
        for left in range(top if whole else 0, len(embeddings), tile):
            _offer(factors, columns, (top, left, tile), own, whole, state, wanted)
    return _settled(embeddings, asked, own, state, wanted, k)


def check_norms(norms: Float[np.ndarray, "n"], name: str, *, tolerance: float = NORM_TOLERANCE) -> None:
    """Refuse rows that are not finite and of norm 1 (within a hundredth), naming the first one."""
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= tolerance))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite rows of norm 1, but {len(wrong)} of {len(norms)} are not; row {wrong[0]} has norm "
            f"{norms[wrong[0]]:.4g}. Divide each row by its norm; NaN or 0 means a broken image or a diverged network"
        )


def as_tensor(rows: Float[np.ndarray, "n d"]) -> Float32[Tensor, "n d"]:
    """The rows as a float32 tensor, without a copy where that can be."""
    return torch.from_numpy(np.array(rows, np.float32, order="C", copy=None if rows.flags.writeable else True))


def _factors(embeddings: Float32[np.ndarray, "n d"], mean: Float32[np.ndarray, "d"] | None) -> _Factors:
    """The rows centred and rounded to bfloat16; as they are, in float32, without a mean."""
    if mean is None:
        nothing = np.zeros(len(embeddings), np.float32)
        return _Factors(as_tensor(embeddings), nothing, nothing + np.float32(1 + NORM_TOLERANCE), nothing)
    n, d = embeddings.shape
    factors = torch.empty((n, d), dtype=torch.bfloat16)
    biases, norms, errors = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)

    def fill(start: int, stop: int) -> None:
        centred = embeddings[start:stop] - mean
        factors[start:stop] = torch.from_numpy(centred)
        biases[start:stop] = embeddings[start:stop] @ mean
        norms[start:stop] = kernels.norms(centred)
        centred -= factors[start:stop].float().numpy()
        errors[start:stop] = kernels.norms(centred)

    each_block(fill, n, size=512)
    return _Factors(factors, biases, norms, errors)


def _margins(rows: _Factors, columns: _Factors) -> Float32[np.ndarray, "n"]:
    """Twice the most that the approximate scores of each row can err by."""
    length = rows.factors.shape[1]
    rounding = length * 2.0**-24 + (2.0**-9 if rows.factors.dtype == torch.bfloat16 else 2.0**-24)
    worst = columns.errors.max()
    largest = columns.norms.max() + worst
    error = rows.errors * largest + rows.norms * worst + rounding * (rows.norms + rows.errors) * largest
    return (2 * (1.01 * error + length * 2.0**-24 + 1e-6)).astype(np.float32)


def _offer(
    rows: _Factors,
    columns: _Factors,
    corner: tuple[int, int, int],
    own: int,
    whole: bool,
    state: _State,
    wanted: int,
) -> None:
    """Compute one tile of the product and offer it to its rows; of a whole, symmetric product to its columns too."""
    top, left, size = corner
    product = torch.mm(rows.factors[top : top + size], columns.factors[left : left + size].T)
    tile = product.float().numpy()
    blocks = [(start, stop, False) for start, stop in row_blocks(tile.shape[0], size=256)]
    if whole and left > top:  # other rows of the state than those of the first blocks
        blocks += [(start, stop, True) for start, stop in row_blocks(tile.shape[1], size=256)]

    def scan(start: int, stop: int, down: bool) -> None:
        if down:
            kernels.scan_columns(tile, rows.biases, top, left, start, stop, state, wanted)
        else:
            kernels.scan_rows(tile, columns.biases, top, left, own, start, stop, state, wanted)

    for _ in run_blocks(scan, blocks):
        pass


def _settled(
    embeddings: Float32[np.ndarray, "n d"],
    asked: Float32[np.ndarray, "rows d"],
    own: int,
    state: _State,
    wanted: int,
    k: int,
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k best of each row's candidates, by inner products that are the same whatever found the candidates."""
    n = len(asked)
    similarities, indices = np.empty((n, k), np.float32), np.empty((n, k), np.int32)

    def settle(start: int, stop: int) -> None:
        kernels.settle(asked, embeddings, own, start, stop, state, wanted, similarities, indices)

    each_block(settle, n, size=256)
    return similarities, indices
