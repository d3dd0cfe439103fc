"""Exact nearest neighbours on a CPU: candidates by a fast matrix product, settled by float32 inner products.

The product may be of low precision (bfloat16, where the processor multiplies it): its error has a bound (see
`_Factors`), and every column that the bound leaves in play becomes a candidate, so that the result is exact, and the
same to the bit whatever found the candidates. Of a symmetric product only one half is computed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt16

from reidlib.neighbours import search_kernels as kernels
from reidlib.neighbours.blocks import each_block, row_blocks, run_blocks
from reidlib.neighbours.rows import NORM_TOLERANCE, read_only
from reidlib.progress import progress

TILE_ROWS = 2048
LEAST_TILE_ROWS = 512  # smaller ones would save more of a symmetric product than their handling takes
Numbers = Float32[np.ndarray, "_ d"] | UInt16[np.ndarray, "_ d"]
"""Rows in float32, or in bfloat16 as the bits of which numpy makes no numbers."""


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

    factors: Numbers
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
    asked = embeddings[part.start : part.stop] if queries is None else queries
    offset = part.start if queries is None else -1
    whole = offset == 0 and len(asked) == len(embeddings)
    mean = embeddings.mean(0) if bfloat16 else None
    columns = _factors(embeddings, mean)
    factors = columns if whole else _factors(asked, mean)
    n, wanted = len(asked), max(k - (offset >= 0), 1)
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
            _offer(factors, columns, (top, left, tile), offset, whole, state, wanted)
    return _settle(embeddings, asked, offset, state, wanted, k)


def _factors(embeddings: Float32[np.ndarray, "n d"], mean: Float32[np.ndarray, "d"] | None) -> _Factors:
    """The rows centred and rounded to bfloat16; as they are, in float32, without a mean."""
    if mean is None:
        nothing = np.zeros(len(embeddings), np.float32)
        return _Factors(embeddings, nothing, nothing + np.float32(1 + NORM_TOLERANCE), nothing)
    n, d = embeddings.shape
    factors = np.empty((n, d), np.uint16)
    biases, norms, errors = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)

    def fill(start: int, stop: int) -> None:
        centred = embeddings[start:stop] - mean
        factors[start:stop] = _to_bfloat16(centred)
        biases[start:stop] = embeddings[start:stop] @ mean
        norms[start:stop] = kernels.norms(read_only(centred))
        centred -= (factors[start:stop].astype(np.uint32) << 16).view(np.float32)
        errors[start:stop] = kernels.norms(read_only(centred))

    each_block(fill, n, size=512)
    return _Factors(factors, biases, norms, errors)


def _to_bfloat16(rows: Float32[np.ndarray, "n d"]) -> UInt16[np.ndarray, "n d"]:
    import torch

    return torch.from_numpy(rows).bfloat16().view(torch.uint16).numpy()


def _product(rows: Numbers, columns: Numbers) -> Float32[np.ndarray, "rows columns"]:
    """The inner products of all rows with all columns."""
    if rows.dtype == np.float32:
        return rows @ columns.T
    import torch

    first, second = (torch.from_numpy(bits).view(torch.bfloat16) for bits in (rows, columns))
    return torch.mm(first, second.T).float().numpy()


def _margins(rows: _Factors, columns: _Factors) -> Float32[np.ndarray, "n"]:
    """Twice the most that the approximate scores of each row can err by."""
    length = rows.factors.shape[1]
    rounding = length * 2.0**-24 + (2.0**-24 if rows.factors.dtype == np.float32 else 2.0**-9)
    worst = columns.errors.max()
    largest = columns.norms.max() + worst
    error = rows.errors * largest + rows.norms * worst + rounding * (rows.norms + rows.errors) * largest
    return (2 * (1.01 * error + length * 2.0**-24 + 1e-6)).astype(np.float32)


def _offer(
    rows: _Factors,
    columns: _Factors,
    corner: tuple[int, int, int],
    offset: int,
    whole: bool,
    state: _State,
    wanted: int,
) -> None:
    """Compute one tile of the product and offer it to its rows; of a whole, symmetric product to its columns too."""
    top, left, size = corner
    tile = _product(rows.factors[top : top + size], columns.factors[left : left + size])
    blocks = [(start, stop, False) for start, stop in row_blocks(tile.shape[0], size=256)]
    if whole and left > top:  # other rows of the state than those of the first blocks
        blocks += [(start, stop, True) for start, stop in row_blocks(tile.shape[1], size=256)]

    def scan(start: int, stop: int, down: bool) -> None:
        if down:
            kernels.scan_columns(tile, rows.biases, top, left, start, stop, state, wanted)
        else:
            kernels.scan_rows(tile, columns.biases, top, left, offset, start, stop, state, wanted)

    for _ in run_blocks(scan, blocks):
        pass


def _settle(
    embeddings: Float32[np.ndarray, "n d"],
    asked: Float32[np.ndarray, "rows d"],
    offset: int,
    state: _State,
    wanted: int,
    k: int,
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k best of each row's candidates, by inner products that are the same whatever found the candidates."""
    n = len(asked)
    similarities, indices = np.empty((n, k), np.float32), np.empty((n, k), np.int32)

    def settle(start: int, stop: int) -> None:
        kernels.settle(asked, embeddings, offset, start, stop, state, wanted, similarities, indices)

    each_block(settle, n, size=256)
    return similarities, indices
