"""The k-reciprocal Jaccard distance on torch's devices, so that labelling an epoch need not leave the GPU.

The same six steps as `jaccard` [Zhong et al., CVPR 2017, arXiv:1701.08398] in torch operations over blocks of rows. The
overlaps are summed as integers (multiples of 2⁻⁴⁰), whose sum does not depend on the order in which a GPU's threads
come: the result is symmetric to the bit, and the same in every run.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from reidlib.neighbours.candidates import NORM_TOLERANCE, check_norms

BLOCK_ENTRIES = 1 << 24  # numbers in the largest temporary tensors
UNIT = 2.0**40
TINY = 2.0**-24  # how far apart rows with equal neighbourhoods are stored; exact zeros are kept for the diagonal


class DeviceGraph(NamedTuple):
    """`weights.Rows` on a device, columns ascending."""

    indptr: Int64[Tensor, "rows_and_one"]
    columns: Int32[Tensor, "entries"]
    values: Float32[Tensor, "entries"]


def jaccard_from_neighbours_on_device(
    embeddings: Float[Tensor, "n d"], indices: Int32[Tensor, "n k1"], *, k2: int, max_distance: float
) -> DeviceGraph:
    """Distances as `jaccard.jaccard_from_neighbours`, which checks and documents, gives them (to 1e-5).

    Raises:
        ValueError: embeddings that are not finite unit-norm rows.
    """
    ranked, embeddings = indices.long(), embeddings.detach().float()
    norms = (embeddings * embeddings).sum(1).sqrt().numpy(force=True)
    check_norms(norms, "jaccard: embeddings", tolerance=1.05 * NORM_TOLERANCE)
    weights = _reciprocal_weights(embeddings, ranked)
    if k2 > 1:
        weights = _averaged(weights, ranked, k2)
    return _overlaps(weights, max_distance)


def _blocks(n: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _mutual(ranked: Int64[Tensor, "n k"]) -> Bool[Tensor, "n k"]:
    """Whether row i is among the neighbours of its neighbour."""
    n, k = ranked.shape
    found = torch.empty((n, k), dtype=torch.bool, device=ranked.device)
    rows = torch.arange(n, device=ranked.device)[:, None, None]
    for block in _blocks(n, BLOCK_ENTRIES // (k * k)):
        found[block] = (ranked[ranked[block]] == rows[block]).any(2)
    return found


def _graph(keys: Int64[Tensor, "entries"], values: Float32[Tensor, "entries"], n: int) -> DeviceGraph:
    """Rows from ascending keys row · n + column."""
    rows = torch.div(keys, n, rounding_mode="floor")
    indptr = torch.zeros(n + 1, dtype=torch.int64, device=keys.device)
    indptr[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return DeviceGraph(indptr, (keys - rows * n).int(), values)


def _expanded(
    ranked: Int64[Tensor, "n k1"], mutual: Bool[Tensor, "n k1"], nearer: Bool[Tensor, "n half"], block: slice
) -> Int64[Tensor, "entries"]:
    """Step 3 for some rows: the keys of their expanded sets, ascending."""
    n, half = nearer.shape
    members = ranked[block]
    theirs = ranked[members, :half]
    kept = nearer[members]
    inside = torch.zeros_like(kept)
    for p in range(members.shape[1]):
        inside |= (theirs == members[:, p, None, None]) & mutual[block, p, None, None]
    joined = mutual[block] & (3 * (inside & kept).sum(2) > 2 * kept.sum(2))
    rows = torch.arange(block.start, block.stop, device=ranked.device) * n
    own = (rows[:, None] + members)[mutual[block]]
    return torch.unique(torch.cat([own, (rows[:, None, None] + theirs)[kept & joined[:, :, None]]]))


def _reciprocal_weights(embeddings: Float32[Tensor, "n d"], ranked: Int64[Tensor, "n k1"]) -> DeviceGraph:
    """Steps 1 to 4."""
    n, k1 = ranked.shape
    half = min(round(k1 / 2) + 1, k1)
    mutual, nearer = _mutual(ranked), _mutual(ranked[:, :half].contiguous())
    blocks = _blocks(n, BLOCK_ENTRIES // (k1 * half))
    keys = torch.cat([_expanded(ranked, mutual, nearer, block) for block in blocks])
    rows = torch.div(keys, n, rounding_mode="floor")
    columns = keys - rows * n
    products = torch.empty(len(keys), dtype=torch.float32, device=keys.device)
    for block in _blocks(len(keys), BLOCK_ENTRIES // embeddings.shape[1]):
        products[block] = (embeddings[rows[block]] * embeddings[columns[block]]).sum(1)
    weights = torch.exp(2 * products - 2)
    totals = torch.segment_reduce(weights, "sum", lengths=torch.bincount(rows, minlength=n))
    return _graph(keys, weights / totals[rows], n)


def _entries(heads: Int64[Tensor, "lists"], lengths: Int64[Tensor, "lists"]) -> tuple[Tensor, Tensor]:
    """All places of the lists that begin at `heads`, one list after the other, and which list each belongs to."""
    owners = torch.repeat_interleave(torch.arange(len(heads), device=heads.device), lengths)
    before = lengths.cumsum(0) - lengths
    places = torch.arange(len(owners), device=heads.device) - before[owners] + heads[owners]
    return places, owners


def _averaged(weights: DeviceGraph, ranked: Int64[Tensor, "n k1"], k2: int) -> DeviceGraph:
    """Step 5."""
    n = len(ranked)
    sizes = weights.indptr.diff()
    longest = max(1, int(sizes.max()))
    keys, values = [], []
    for block in _blocks(n, BLOCK_ENTRIES // (k2 * longest)):
        sources = ranked[block, :k2].flatten()
        places, owners = _entries(weights.indptr[sources], sizes[sources])
        rows = torch.div(owners, k2, rounding_mode="floor") + block.start
        ordered, order = torch.sort(rows * n + weights.columns[places], stable=True)
        found, counts = torch.unique_consecutive(ordered, return_counts=True)
        keys.append(found)
        values.append(torch.segment_reduce(weights.values[places][order], "sum", lengths=counts) / k2)
    return _graph(torch.cat(keys), torch.cat(values), n)


def _overlaps(weights: DeviceGraph, max_distance: float) -> DeviceGraph:
    """Step 6: pairs that share a column meet in its list; their smaller weights are summed in a tile of rows."""
    indptr, columns, values = weights
    n = len(indptr) - 1
    columns = columns.long()
    units = (values.double() * UNIT).round().long()
    rows = torch.repeat_interleave(torch.arange(n, device=values.device), indptr.diff())
    order = torch.argsort(columns, stable=True)
    lengths = torch.bincount(columns, minlength=n)
    heads = lengths.cumsum(0) - lengths
    listed_rows, listed_units = rows[order], units[order]
    work = torch.zeros(n + 1, dtype=torch.int64)
    work[1:] = torch.segment_reduce(lengths[columns].double(), "sum", lengths=indptr.diff()).long().cumsum(0).cpu()
    keys, distances = [], []
    start = 0
    while start < n:
        stop = int(torch.searchsorted(work, work[start] + BLOCK_ENTRIES, right=True)) - 1
        stop = min(max(stop, start + 1), start + max(1, BLOCK_ENTRIES // n), n)
        entries = slice(int(indptr[start]), int(indptr[stop]))
        places, owners = _entries(heads[columns[entries]], lengths[columns[entries]])
        cells = (rows[entries] - start)[owners] * n + listed_rows[places]
        total = torch.zeros((stop - start) * n, dtype=torch.int64, device=values.device)
        total.index_add_(0, cells, torch.minimum(units[entries][owners], listed_units[places]))
        found, distance = _kept(total, start, n, max_distance)
        keys.append(found)
        distances.append(distance)
        start = stop
    return _graph(torch.cat(keys), torch.cat(distances), n)


def _kept(
    total: Int64[Tensor, "cells"], start: int, n: int, max_distance: float
) -> tuple[Int64[Tensor, "entries"], Float32[Tensor, "entries"]]:
    """Keys and distances to store of a tile of overlaps whose first row is `start`."""
    cells = torch.nonzero(total).flatten()
    overlap = total[cells].double() / UNIT
    distances = (1 - overlap / (2 - overlap)).clamp(min=TINY).float()
    keys = cells + start * n
    own = torch.div(keys, n, rounding_mode="floor") * (n + 1) == keys
    distances[own] = 0
    stored = own | ((distances <= max_distance) & (distances < 1))
    return keys[stored], distances[stored]
