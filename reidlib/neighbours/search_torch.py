"""Exact nearest neighbours on a GPU, by torch: candidates by faiss where it has a GPU, else by tiles of a product.

Queries are cut into blocks at the same rows whichever of them are asked for, so that a share of a search makes the
same calls as the whole one, and gives the same bits; but where memory is short, which makes blocks smaller (products
may then differ by rounding).
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
TILE_BYTES = 1 << 30
TILE_SHARE = 8  # of the free memory a tile takes at most one in so many: sorting it takes as much several times
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

    Products are computed in full float32 whatever precision torch is set to, a block of rows against all embeddings;
    a block that the device has no memory for is halved, and that printed.
    """
    n, where = len(embeddings), torch.device(device)
    base = _as_tensor(embeddings).to(where)
    asked = base if queries is None else _as_tensor(queries).to(where)
    wanted = range(len(asked)) if rows is None else rows
    similarities = torch.empty((len(wanted), k), dtype=torch.float32, device=where)
    indices = torch.empty((len(wanted), k), dtype=torch.int32, device=where)
    candidates = _faiss_on(base.device) if k + SPARE <= min(n, FAISS_MOST) else None
    block = _block_rows(n, where)
    start = wanted.start - wanted.start % block
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        while start < wanted.stop:
            stop = min(start + block, len(asked))
            places = torch.arange(start, stop, device=where) if queries is None else None
            part = _part(candidates, base, asked[start:stop], places, k)
            if part is None:
                block = _halved(block)
                continue
            inside = slice(max(start, wanted.start) - start, min(stop, wanted.stop) - start)
            place = slice(start + inside.start - wanted.start, start + inside.stop - wanted.start)
            similarities[place], indices[place] = part[0][inside], part[1][inside]
            start = stop
    finally:
        torch.set_float32_matmul_precision(precision)
    return similarities.numpy(force=True), indices.numpy(force=True)


def _part(
    candidates: Candidates | None,
    embeddings: Float32[Tensor, "n d"],
    asked: Float32[Tensor, "rows d"],
    places: Int64[Tensor, "rows"] | None,
    k: int,
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]] | None:
    """The k nearest of one block; None where the device has no memory for it, though it has more than one row."""
    try:
        if candidates is None:
            return _by_tile(embeddings, asked, places, k)
        return _by_faiss(candidates, embeddings, asked, places, k)
    except torch.OutOfMemoryError:
        if len(asked) == 1:
            raise
    return None


def _block_rows(n: int, device: torch.device) -> int:
    """How many queries to compare with n embeddings at a time: a power of two, so that halves end where blocks do."""
    room = TILE_BYTES
    if device.type == "cuda":
        room = min(room, torch.cuda.mem_get_info(device)[0] // TILE_SHARE)
    return 1 << max(0, min(BLOCK_ROWS, room // (4 * n)).bit_length() - 1)


def _halved(block: int) -> int:
    """Half of a block that found no memory, which is given back and told."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    print(f"nearest neighbours: no memory for {block} rows at a time, going on with {block // 2}", flush=True)
    return block // 2


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
