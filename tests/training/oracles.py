"""Random unit vectors, and the update of a memory as the published codes have it, sample by sample."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def unit(count: int, dim: int, seed: int) -> Tensor:
    return functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)))


def move_one_by_one(vectors, features: Tensor, places: Iterable, momentum: float) -> None:
    """Let each feature in turn move the vector at its place (an index, or a key)."""
    for feature, place in zip(features, places, strict=True):
        new = momentum * vectors[place] + (1 - momentum) * feature
        vectors[place] = new / new.norm()
