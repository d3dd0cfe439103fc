"""Exact nearest neighbours by inner product: one function, one result, whatever computes it.

On a CPU: candidates from a float32 product by numpy, or from a bfloat16 one by torch where the processor multiplies
bfloat16, both settled by the same float32 inner products. On a GPU: faiss's brute force, or tiles of a float32 product
where faiss has no GPU. Torch is imported only for a search that takes longer than the import.

Own code, since the obvious way, a torch product with top-k and float32 products of the candidates, takes twice as long
on two cores (`benchmarks.knn --baseline torch`: 3,000 x 512 and 12,936 x 2,048, both in float32): it computes both
halves of a symmetric product, and proves nothing where the product is of low precision.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from reidlib.neighbours.candidates import nearest_by_candidates
from reidlib.neighbours.rows import unit_rows

GPU_FILES = (Path("/dev/nvidia0"), Path("/dev/kfd"), Path("/dev/dxg"))  # of NVIDIA, of AMD, of either under Windows
PROCESSOR, BFLOAT16 = Path("/proc/cpuinfo"), "avx512_bf16"
PRODUCT_ROWS = 512  # at a time, where each row is compared with all
WORTH_TORCH = 10**12  # multiplications that take some ten seconds in float32 on two cores; importing torch takes three


class Neighbours(NamedTuple):
    """The k nearest rows of each row, nearest first."""

    similarities: Float32[np.ndarray, "rows k"]
    indices: Int32[np.ndarray, "rows k"]


Search = Callable[..., Neighbours]
"""search(embeddings, k=k): the k nearest rows of each row, itself first, as `nearest` finds them."""


def nearest(
    embeddings: Float[np.ndarray, "n d"],
    *,
    k: int,
    queries: Float[np.ndarray, "q width"] | None = None,
    rows: range | None = None,
    device: str | None = None,
) -> Neighbours:
    """The k embeddings with the largest inner product, of each query or (without `queries`) of each embedding.

    Args:
        embeddings: unit-norm rows of any float type; computed with as float32.
        k: neighbours to a row; without `queries` the row itself is one of them.
        queries: unit-norm rows.
        rows: the embeddings to search for, without `queries`: those rows of the whole result, to the bit, so that
            several processes can share a search.
        device: of torch; None: a GPU where there is one and torch is there already, or worth its import.

    Returns:
        Similarities, decreasing, and rows of `embeddings`; ties by lower row. Without `queries` a row itself comes
        first, whatever ties with it.

    Raises:
        ValueError: no rows, k out of 1..n, lengths that differ, or rows that are not finite and unit-norm.
    """
    _check_sizes(embeddings, queries, rows, k)
    base = unit_rows(embeddings, "embeddings")
    asked = None if queries is None else unit_rows(queries, "queries")
    multiplications = base.size * (len(base) if asked is None else len(asked))
    if device is None:
        device = "cuda" if _has_gpu(multiplications) else "cpu"
    if device == "cpu":
        bfloat16 = _multiplies_bfloat16(multiplications)
        return Neighbours(*nearest_by_candidates(base, asked, k=k, rows=rows, bfloat16=bfloat16))
    from reidlib.neighbours.search_torch import nearest_on_device

    return Neighbours(*nearest_on_device(base, asked, k=k, rows=rows, device=device))


def largest_distances(embeddings: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n"]:
    """The squared Euclidean distance of each row to the row furthest from it, 1 where all are copies; a whole product.

    Args:
        embeddings: unit-norm rows of any float type; computed with as float32.
    """
    rows = unit_rows(embeddings, "embeddings")
    starts = range(0, len(rows), PRODUCT_ROWS)
    lowest = [(rows[start : start + PRODUCT_ROWS] @ rows.T).min(axis=1) for start in starts]
    largest: Float32[np.ndarray, "n"] = 2 - 2 * np.concatenate(lowest)
    return np.where(largest > 0, largest, np.float32(1))


def may_have_gpu() -> bool:
    """Return whether the machine has the file of a GPU, without torch, whose import takes seconds."""
    return any(map(Path.exists, GPU_FILES))


def _has_gpu(multiplications: int) -> bool:
    """Whether there is a GPU to search on, and torch is imported or the search long enough to import it."""
    if not _may_load_torch(multiplications) or ("torch" not in sys.modules and not may_have_gpu()):
        return False
    import torch

    return torch.cuda.is_available()


def _multiplies_bfloat16(multiplications: int) -> bool:
    """Whether the processor multiplies bfloat16, and torch is imported or the search long enough to import it."""
    if not _may_load_torch(multiplications) or ("torch" not in sys.modules and BFLOAT16 not in _processor_flags()):
        return False
    import torch

    return torch.cpu._is_avx512_bf16_supported()


def _may_load_torch(multiplications: int) -> bool:
    return "torch" in sys.modules or multiplications >= WORTH_TORCH


def _processor_flags() -> str:
    return PROCESSOR.read_text() if PROCESSOR.exists() else ""


def _check_sizes(
    embeddings: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "q width"] | None, rows: range | None, k: int
) -> None:
    n = len(embeddings)
    if not 1 <= k <= n:
        raise ValueError(f"nearest: expected 1 <= k <= n, got k={k} for n={n} embeddings; lower k or pass more images")
    if rows is not None and (rows.step != 1 or not 0 <= rows.start <= rows.stop <= n or queries is not None):
        raise ValueError(f"nearest: expected rows within 0..{n}, in steps of 1 and without queries, got {rows}")
    if queries is not None and queries.shape[1] != embeddings.shape[1]:
        raise ValueError(f"nearest: queries have length {queries.shape[1]}, embeddings {embeddings.shape[1]}")
