"""Exact nearest neighbours on a GPU, by torch: candidates by faiss where it has a GPU, else by tiles of a product.

Queries are cut into blocks at the same rows whichever of them are asked for, so that a share of a search makes the
same calls as the whole one, and gives the same bits.
"""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

Candidates = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]

BLOCK_ROWS = 1024
TILE_BYTES = 1 << 28
SPARE = 8  # what faiss is asked for beyond k, so that near-ties at the border are seen
FAISS_MOST = 2048  # neighbours that faiss's GPU kernels can select


def nearest_on_device(
    embeddings: Float32[np.ndarray, "n d"],
    queries: Float32[np.ndarray, "q d"] | None,
    *,
    k: int,
    device: str,
    rows: range | None = None,
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    """The k nearest embeddings of each query, or of each embedding (in `rows`), itself first; see `search.nearest`.

    Products are computed in full float32 whatever precision torch is set to, a block of rows against all embeddings.
    """
    n, where = len(embeddings), torch.device(device)
    base = _as_tensor(embeddings).to(where)
    asked = base if queries is None else _as_tensor(queries).to(where)
    wanted = range(len(asked)) if rows is None else rows
    similarities = torch.empty((len(wanted), k), dtype=torch.float32, device=where)
    indices = torch.empty((len(wanted), k), dtype=torch.int32, device=where)
    candidates = _faiss_on(base.device) if k + SPARE <= min(n, FAISS_MOST) else None
    block = max(1, min(BLOCK_ROWS, TILE_BYTES // (4 * n)))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for start in range(wanted.start - wanted.start % block, wanted.stop, block):
            stop = min(start + block, len(asked))
            places = torch.arange(start, stop, device=where) if queries is None else None
            if candidates is None:
                part = _by_tile(base, asked[start:stop], places, k)
            else:
                part = _by_faiss(candidates, base, asked[start:stop], places, k)
            inside = slice(max(start, wanted.start) - start, min(stop, wanted.stop) - start)
            place = slice(start + inside.start - wanted.start, start + inside.stop - wanted.start)
            similarities[place], indices[place] = part[0][inside], part[1][inside]
    finally:
        torch.set_float32_matmul_precision(precision)
    return similarities.numpy(force=True), indices.numpy(force=True)


def _as_tensor(rows: Float32[np.ndarray, "n d"]) -> Float32[Tensor, "n d"]:
    """The rows as a tensor, without a copy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of read-only arrays: nothing here writes to them
        return torch.from_numpy(rows)


def _by_tile(
    embeddings: Float32[Tensor, "n d"], asked: Float32[Tensor, "rows d"], places: Int64[Tensor, "rows"] | None, k: int
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k best of each row of one product with all embeddings; `places` are the rows' places in them."""
    scores = asked @ embeddings.T
    if places is None:
        return _best(scores, k)
    itself = scores.gather(1, places[:, None])
    similarities, indices = _best(scores.scatter_(1, places[:, None], torch.inf), k)
    similarities[:, :1] = itself
    return similarities, indices


def _faiss_on(device: torch.device) -> Candidates | None:
    """Brute force by faiss on tensors in place, where it is installed with GPU support and the device is a GPU."""
    if device.type != "cuda":
        return None
    try:
        import faiss

        if faiss.get_num_gpus() == 0:
            return None
        import faiss.contrib.torch_utils  # it is this that lets faiss.knn_gpu take tensors
    except (ModuleNotFoundError, AttributeError):
        return None
    resources = faiss.StandardGpuResources()
    return partial(faiss.knn_gpu, resources, metric=faiss.METRIC_INNER_PRODUCT, device=device.index or 0)


def _by_faiss(
    candidates: Candidates,
    embeddings: Float32[Tensor, "n d"],
    asked: Float32[Tensor, "rows d"],
    places: Int64[Tensor, "rows"] | None,
    k: int,
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The same from some more than k candidates, in the order of products that are computed alike for all of them.

    A row whose last candidate is as near as its k-th, but for rounding, may lack a tied one: it is left to `_by_tile`.
    """
    scores, columns = candidates(asked, embeddings, k + SPARE)
    columns = columns.sort(dim=1).values
    products = torch.einsum("rd,rcd->rc", asked, embeddings[columns])
    present = torch.ones(len(asked), dtype=torch.bool, device=asked.device)
    if places is not None:
        itself = columns == places[:, None]
        present = itself.any(dim=1)
        products = torch.where(itself, torch.inf, products)
    ordered, order = products.sort(dim=1, descending=True, stable=True)
    similarities, indices = ordered[:, :k], columns.gather(1, order)[:, :k].int()
    if places is not None:
        similarities[:, 0] = (asked * asked).sum(dim=1)
    margin = 2 * (asked.shape[1] * 2.0**-23 + 1e-6)
    unsure = torch.nonzero((scores[:, -1] >= scores[:, k - 1] - margin) | ~present).flatten()
    if len(unsure):
        exact = _by_tile(embeddings, asked[unsure], None if places is None else places[unsure], k)
        similarities[unsure], indices[unsure] = exact
    return similarities, indices


def _best(scores: Float32[Tensor, "rows n"], k: int) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k largest of each row, decreasing, ties by lower column (topk promises no order among equals)."""
    n = scores.shape[1]
    values, columns = torch.topk(scores, min(k + 1, n), dim=1)
    if n > k:
        tied = torch.nonzero(values[:, k] == values[:, k - 1]).flatten()
        for row in tied.tolist():  # equals at the border: those with the lowest columns belong in
            ordered, order = torch.sort(scores[row], descending=True, stable=True)
            values[row], columns[row] = ordered[: k + 1], order[: k + 1]
    columns, order = columns[:, :k].sort(dim=1)
    values, places = values[:, :k].gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, places).to(torch.int32)
