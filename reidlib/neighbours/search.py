"""Exact nearest neighbours by inner product: one function, one result, whatever computes it.

On a CPU: candidates from a bfloat16 product where the processor multiplies bfloat16, from a float32 one elsewhere, both
settled by the same float32 inner products (faiss's flat index is slower but for few short rows, see benchmarks.knn). On
a GPU: faiss's brute force, or tiles of a float32 product where faiss has no GPU.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from reidlib.neighbours import search_kernels as kernels
from reidlib.neighbours.blocks import Array
from reidlib.neighbours.candidates import as_tensor, check_norms, nearest_by_candidates
from reidlib.neighbours.search_torch import nearest_on_device


class Neighbours(NamedTuple):
    """The k nearest rows of each row, nearest first: arrays or tensors, as the embeddings were."""

    similarities: Any  # float32 (rows, k)
    indices: Any  # int32 (rows, k)


Search = Callable[..., Neighbours]
"""search(embeddings, k=k): the k nearest rows of each row, itself first, as `nearest` finds them."""


def nearest(
    embeddings: Float[Array, "n d"],
    *,
    k: int,
    queries: Float[Array, "q d"] | None = None,
    rows: range | None = None,
    device: str = "auto",
) -> Neighbours:
    """The k embeddings with the largest inner product, of each query or (without `queries`) of each embedding.

    Args:
        embeddings: unit-norm rows of any float type; computed with as float32.
        k: neighbours to a row; without `queries` the row itself is one of them.
        queries: unit-norm rows; of the same kind (array or tensor, device) as the embeddings.
        rows: the embeddings to search for, without `queries`: those rows of the whole result, to the bit, so that
            several processes can share a search.
        device: "auto" computes where tensors are, and arrays on a GPU if there is one; else a torch device.

    Returns:
        Similarities, decreasing, and rows of `embeddings`; ties by lower row. Without `queries` a row itself comes
        first, whatever ties with it. Of the same kind, and on the same device, as the embeddings.

    Raises:
        ValueError: no rows, k out of 1..n, lengths that differ, or rows that are not finite and unit-norm.
    """
    _check_sizes(embeddings, queries, rows, k)
    home = embeddings.device if isinstance(embeddings, Tensor) else None
    if device == "auto":
        where = home or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        where = torch.device(device)
    if where.type == "cpu":
        base, asked = _on_host(embeddings, "embeddings"), None if queries is None else _on_host(queries, "queries")
        bfloat16 = torch.cpu._is_avx512_bf16_supported()
        found: tuple = nearest_by_candidates(base, asked, k=k, rows=rows, bfloat16=bfloat16)
    else:
        moved = None if queries is None else _tensor(queries).to(where)
        found = nearest_on_device(_tensor(embeddings).to(where), moved, k=k, rows=rows)
    if home is None:
        return Neighbours(*(torch.as_tensor(part).numpy(force=True) for part in found))
    return Neighbours(*(torch.as_tensor(part, device=home) for part in found))


def remembered(found: Neighbours) -> Search:
    """A search that was made already: it serves any k up to the columns of `found`, of the same embeddings.

    Raises (when it is called):
        ValueError: for a larger k, or embeddings of another number.
    """

    def search(embeddings: Array, /, *, k: int) -> Neighbours:
        n, columns = found.indices.shape
        if len(embeddings) != n or not 1 <= k <= columns:
            raise ValueError(
                f"remembered search: {columns} neighbours of {n} rows are known, asked for {k} of {len(embeddings)} "
                "rows; search for more neighbours, of the same rows"
            )
        similarities, indices = found.similarities[:, :k], found.indices[:, :k]
        if isinstance(embeddings, Tensor):
            device = embeddings.device
            return Neighbours(torch.as_tensor(similarities, device=device), torch.as_tensor(indices, device=device))
        return Neighbours(np.asarray(similarities), np.asarray(indices))

    return search


def on_gpu(embeddings: Float[Array, "n d"]) -> Any:
    """An array as a float32 tensor on the GPU, where there is one; else, and of tensors, what was given."""
    if isinstance(embeddings, Tensor) or not torch.cuda.is_available():
        return embeddings
    return as_tensor(embeddings).cuda()


def _check_sizes(
    embeddings: Float[Array, "n d"], queries: Float[Array, "q d"] | None, rows: range | None, k: int
) -> None:
    n = len(embeddings)
    if not 1 <= k <= n:
        raise ValueError(f"nearest: expected 1 <= k <= n, got k={k} for n={n} embeddings; lower k or pass more images")
    if rows is not None and (rows.step != 1 or not 0 <= rows.start <= rows.stop <= n or queries is not None):
        raise ValueError(f"nearest: expected rows within 0..{n}, in steps of 1 and without queries, got {rows}")
    if queries is None:
        return
    if isinstance(queries, Tensor) != isinstance(embeddings, Tensor):
        raise ValueError(
            f"nearest: embeddings are {type(embeddings).__name__}, queries {type(queries).__name__}; pass two of a kind"
        )
    if queries.shape[1] != embeddings.shape[1]:
        raise ValueError(f"nearest: queries have length {queries.shape[1]}, embeddings {embeddings.shape[1]}")


def _tensor(rows: Float[Array, "n d"]) -> Float32[Tensor, "n d"]:
    return (rows.detach().float() if isinstance(rows, Tensor) else as_tensor(rows)).contiguous()


def _on_host(rows: Float[Array, "n d"], name: str) -> Float32[np.ndarray, "n d"]:
    """The rows as a contiguous array, checked to be unit-norm."""
    host = _tensor(rows).numpy(force=True) if isinstance(rows, Tensor) else np.ascontiguousarray(rows, np.float32)
    check_norms(kernels.norms(host), name)
    return host
