"""What a term of the loss is given, made by hand: `make_start` and `make_batch`."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reidlib.losses.term import Batch, EpochStart
from reidlib.models.embedder import Features


def features_of(values: Tensor | Features) -> Features:
    """Return (b, d) or (b, parts, d) values as features, the same before the neck and after it."""
    if isinstance(values, Features):
        return values
    parts = values[:, None] if values.ndim == 2 else values
    return Features(parts, parts)


@pytest.fixture(scope="session")
def make_start():
    """Return a builder of `EpochStart`: rows are given norm 1; without cameras all images are on camera 0."""

    def make(embeddings, labels, cameras=None, *, epoch=0, local=False, renewed=True, device="cpu"):
        rows = np.asarray(embeddings, np.float32)
        labels = np.asarray(labels, np.int32)
        return EpochStart(
            epoch=epoch,
            embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
            labels=labels,
            cameras=np.zeros(len(labels), np.int16) if cameras is None else np.asarray(cameras, np.int16),
            local=local,
            renewed=renewed,
            device=torch.device(device),
        )

    return make


@pytest.fixture(scope="session")
def make_batch():
    """Return a builder of `Batch`: features as tensors (b, d) or (b, parts, d), or as `Features`."""

    def make(features, labels, cameras=None, *, second=None, rows=None, epoch=0, seed=0):
        labels = np.asarray(labels, np.int64)
        return Batch(
            epoch=epoch,
            first=features_of(features),
            second=None if second is None else features_of(second),
            rows=np.arange(len(labels)) if rows is None else np.asarray(rows, np.int64),
            labels=labels,
            cameras=np.zeros(len(labels), np.int64) if cameras is None else np.asarray(cameras, np.int64),
            generator=np.random.default_rng(seed),
        )

    return make
