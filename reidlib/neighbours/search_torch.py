"""Exact nearest neighbours on torch's devices: candidates by faiss where it has a GPU, else by tiles of a product.

Queries are cut into blocks at the same rows whichever of them are asked for, so that a share of a search makes the
same calls as the whole one, and gives the same bits.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from reidlib.neighbours.candidates import check_norms

Candidates = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]

BLOCK_ROWS = 1024
TILE_BYTES = 1 << 28
SPARE = 8  # what faiss is asked for beyond k, so that near-ties at the border are seen
FAISS_MOST = 2048  # neighbours that faiss's GPU kernels can select


def nearest_on_device(
    embeddings: Float32[Tensor, "n d"], queries: Float32[Tensor, "q d"] | None, *, k: int, rows: range | None = None
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k nearest embeddings of each query, or of each embedding (in `rows`), itself first; see `search.nearest`.

    Products are computed in full float32 whatever precision torch is set to, a block of rows against all embeddings.
    """
    n = len(embeddings)
    asked = embeddings if queries is None else queries
    check_norms(embeddings.norm(dim=1).numpy(force=True), "embeddings")
    if queries is not None:
        check_norms(queries.norm(dim=1).numpy(force=True), "queries")
    wanted = range(len(asked)) if rows is None else rows
    similarities = torch.empty((len(wanted), k), dtype=torch.float32, device=embeddings.device)
    indices = torch.empty((len(wanted), k), dtype=torch.int32, device=embeddings.device)
    candidates = _faiss_on(embeddings.device) if k + SPARE <= min(n, FAISS_MOST) else None
    block = max(1, min(BLOCK_ROWS, TILE_BYTES // (4 * n)))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for start in range(wanted.start - wanted.start % block, wanted.stop, block):
            stop = min(start + block, len(asked))
            own = torch.arange(start, stop, device=embeddings.device) if queries is None else None
            if candidates is None:
                found = _by_tile(embeddings, asked[start:stop], own, k)
            else:
                found = _by_faiss(candidates, embeddings, asked[start:stop], own, k)
            inside = slice(max(start, wanted.start) - start, min(stop, wanted.stop) - start)
            place = slice(start + inside.start - wanted.start, start + inside.stop - wanted.start)
            similarities[place], indices[place] = found[0][inside], found[1][inside]
    finally:
        torch.set_float32_matmul_precision(precision)
    return similarities, indices


def _by_tile(
    embeddings: Float32[Tensor, "n d"], asked: Float32[Tensor, "rows d"], own: Int64[Tensor, "rows"] | None, k: int
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k best of each row of one product with all embeddings; `own` are the rows' own places in them."""
    scores = asked @ embeddings.T
    if own is None:
        return _best(scores, k)
    itself = scores.gather(1, own[:, None])
    similarities, indices = _best(scores.scatter_(1, own[:, None], torch.inf), k)
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
    own: Int64[Tensor, "rows"] | None,
    k: int,
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The same from some more than k candidates, in the order of products that are computed alike for all of them.

    A row whose last candidate is as near as its k-th, but for rounding, may lack a tied one: it is left to `_by_tile`.
    """
    scores, columns = candidates(asked, embeddings, k + SPARE)
    columns = columns.sort(dim=1).values
    products = torch.einsum("rd,rcd->rc", asked, embeddings[columns])
    present = torch.ones(len(asked), dtype=torch.bool, device=asked.device)
    if own is not None:
        itself = columns == own[:, None]
        present = itself.any(dim=1)
        products = torch.where(itself, torch.inf, products)
    ordered, places = products.sort(dim=1, descending=True, stable=True)
    similarities, indices = ordered[:, :k], columns.gather(1, places)[:, :k].int()
    if own is not None:
        similarities[:, 0] = (asked * asked).sum(dim=1)
    margin = 2 * (asked.shape[1] * 2.0**-23 + 1e-6)
    unsure = torch.nonzero((scores[:, -1] >= scores[:, k - 1] - margin) | ~present).flatten()
    if len(unsure):
        exact = _by_tile(embeddings, asked[unsure], None if own is None else own[unsure], k)
        similarities[unsure], indices[unsure] = exact
    return similarities, indices


def _best(scores: Float32[Tensor, "rows n"], k: int) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    """The k largest of each row, decreasing, ties by lower column (topk promises no order among equals)."""
    n = scores.shape[1]
    values, columns = torch.topk(scores, min(k + 1, n), dim=1)
    if n > k:
        tied = torch.nonzero(values[:, k] == values[:, k - 1]).flatten()
        for row in tied.tolist():  # equals at the border: those with the lowest columns belong in
            ordered, places = torch.sort(scores[row], descending=True, stable=True)
            values[row], columns[row] = ordered[: k + 1], places[: k + 1]
    columns, order = columns[:, :k].sort(dim=1)
    values, places = values[:, :k].gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, places).to(torch.int32)
