"""Exact nearest neighbours by inner product: one function, one result, whatever computes it.

On a CPU: candidates from a bfloat16 product where the processor multiplies bfloat16 and the embeddings are long enough
for it to pay, from faiss's flat index elsewhere (from a float32 product where faiss is not installed); all are settled
by the same float32 inner products, so that the result does not depend on the way. On a GPU: tiles of a float32 product.
"""

from typing import overload

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from reidlib.neighbours import search_kernels as kernels
from reidlib.neighbours.candidates import nearest_by_candidates, nearest_by_faiss
from reidlib.neighbours.search_torch import nearest_on_device

BFLOAT16_LENGTH = 512  # shorter rows: the product is no longer what costs
BFLOAT16_NUMBERS = 6_000_000  # rows times length; below it faiss is done before the candidates are counted
NORM_TOLERANCE = 0.01


@overload
def nearest(
    embeddings: Float[np.ndarray, "n d"],
    *,
    k: int,
    queries: Float[np.ndarray, "q d"] | None = None,
    device: str = "auto",
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]: ...


@overload
def nearest(
    embeddings: Float[Tensor, "n d"], *, k: int, queries: Float[Tensor, "q d"] | None = None, device: str = "auto"
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]: ...


def nearest(
    embeddings: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    k: int,
    queries: Float[np.ndarray, "q d"] | Float[Tensor, "q d"] | None = None,
    device: str = "auto",
) -> (
    tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]
    | tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]
):
    """The k embeddings with the largest inner product, of each query or (without `queries`) of each embedding.

    Args:
        embeddings: unit-norm rows of any float type; computed with as float32.
        k: neighbours to a row; without `queries` the row itself is one of them.
        queries: unit-norm rows; of the same kind (array or tensor, device) as the embeddings.
        device: "auto" computes where tensors are, and arrays on a GPU if there is one; else a torch device.

    Returns:
        Similarities, decreasing, and rows of `embeddings`; ties by lower row. Without `queries` a row itself comes
        first, whatever ties with it. Of the same kind, and on the same device, as the embeddings.

    Raises:
        ValueError: no rows, k out of 1..n, lengths that differ, or rows that are not finite and unit-norm.
    """
    n = len(embeddings)
    if not 1 <= k <= n:
        raise ValueError(f"nearest: expected 1 <= k <= n, got k={k} for n={n} embeddings; lower k or pass more images")
    if queries is not None and queries.shape[1] != embeddings.shape[1]:
        raise ValueError(f"nearest: queries have length {queries.shape[1]}, embeddings {embeddings.shape[1]}")
    if isinstance(embeddings, Tensor):
        if queries is not None and not isinstance(queries, Tensor):
            raise ValueError("nearest: embeddings are a tensor and queries an array; pass two of a kind")
        return _nearest_tensors(embeddings, queries, k, embeddings.device if device == "auto" else torch.device(device))
    if isinstance(queries, Tensor):
        raise ValueError("nearest: embeddings are an array and queries a tensor; pass two of a kind")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return _nearest_arrays(embeddings, queries, k)
    base, asked = _tensor(embeddings), None if queries is None else _tensor(queries)
    similarities, indices = _nearest_tensors(base, asked, k, torch.device(device))
    return similarities.numpy(), indices.numpy()


def check_unit_rows(rows: Float32[np.ndarray, "n d"], name: str) -> None:
    """Refuse rows that are not finite and of norm 1 (within a hundredth), naming the first one."""
    norms = kernels.norms(rows)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite rows of norm 1, but {len(wrong)} of {len(rows)} are not; row {wrong[0]} has norm "
            f"{norms[wrong[0]]:.4g}. Divide each row by its norm; NaN or 0 means a broken image or a diverged network"
        )


def _tensor(rows: Float[np.ndarray, "n d"]) -> Float32[Tensor, "n d"]:
    return torch.from_numpy(np.array(rows, np.float32, order="C", copy=None if rows.flags.writeable else True))


def _nearest_tensors(
    embeddings: Float[Tensor, "n d"], queries: Float[Tensor, "q d"] | None, k: int, device: torch.device
) -> tuple[Float32[Tensor, "rows k"], Int32[Tensor, "rows k"]]:
    base = embeddings.detach().to(device, torch.float32)
    asked = None if queries is None else queries.detach().to(device, torch.float32)
    if device.type == "cpu":
        found = _nearest_arrays(base.numpy(), None if asked is None else asked.numpy(), k)
        similarities, indices = torch.from_numpy(found[0]), torch.from_numpy(found[1])
    else:
        similarities, indices = nearest_on_device(base, asked, k=k)
    return similarities.to(embeddings.device), indices.to(embeddings.device)


def _nearest_arrays(
    embeddings: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "q d"] | None, k: int
) -> tuple[Float32[np.ndarray, "rows k"], Int32[np.ndarray, "rows k"]]:
    base = np.ascontiguousarray(embeddings, np.float32)
    check_unit_rows(base, "embeddings")
    asked = None
    if queries is not None:
        asked = np.ascontiguousarray(queries, np.float32)
        check_unit_rows(asked, "queries")
    if torch.cpu._is_avx512_bf16_supported() and base.shape[1] >= BFLOAT16_LENGTH and base.size >= BFLOAT16_NUMBERS:
        return nearest_by_candidates(base, asked, k=k, bfloat16=True)
    try:
        return nearest_by_faiss(base, asked, k=k)
    except ModuleNotFoundError:
        return nearest_by_candidates(base, asked, k=k, bfloat16=False)
