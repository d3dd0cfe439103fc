"""Cluster Contrast: one vector per cluster, which every sample of the batch moves [Dai et al., arXiv:2103.11568]."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.labels.camera_entropy import cluster_weights
from reidlib.labels.centres import cluster_centres
from reidlib.losses.centres import move_centres
from reidlib.losses.softmax import memory_loss
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.settings import Epochs, Positive, Share


class ClusterMemory(Term):
    """Cross-entropy of the cosines to the clusters' vectors, at a temperature; the batch then moves the vectors.

    Each sample in turn: m <- normalise(momentum * m + (1 - momentum) * q). Every epoch begins with the normalised means
    of the clusters' embeddings.

    Attributes:
        centres: float32 (C, D), unit-norm rows.
        cameras: int64 (C,), the camera of each cluster where clusters are local, else empty.
        weights: float32 (C,), how much the samples of each cluster count, empty where all count 1.
    """

    centres: Tensor
    cameras: Tensor
    weights: Tensor

    def __init__(
        self,
        *,
        temperature: Positive = 0.05,
        momentum: Share = 0.1,
        hard: bool = False,
        entropy_from_epoch: Epochs | None = None,
        outliers: bool = False,
    ) -> None:
        """Hold no cluster yet.

        Args:
            temperature: of the softmax over cosines.
            momentum: share of the old vector that a sample leaves.
            hard: of each cluster's samples only the least similar one moves it (the variant of the paper's code).
            entropy_from_epoch: from this epoch on, the samples of a cluster count by log(1 + entropy of its cameras)
                [Li et al., CALR, arXiv:2403.16450], 5 there.
            outliers: every outlier is a cluster of its own, as single images are in bottom-up clustering [Lin et al.,
                AAAI 2019].
        """
        super().__init__()
        self.temperature, self.momentum, self.hard = temperature, momentum, hard
        self.entropy_from_epoch, self.outliers_are_classes = entropy_from_epoch, outliers
        self.register_buffer("centres", torch.zeros(0, 0))
        self.register_buffer("cameras", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(0))

    def begin(self, start: EpochStart) -> None:
        """EpochStart every cluster at the normalised mean of its members' embeddings."""
        self.centres = torch.from_numpy(cluster_centres(start.embeddings, start.labels)).to(start.device)
        self.cameras = start.class_cameras
        weighted = self.entropy_from_epoch is not None and start.epoch >= self.entropy_from_epoch
        weights = cluster_weights(start.labels, start.cameras) if weighted else np.zeros(0, np.float32)
        self.weights = torch.from_numpy(weights).to(start.device)

    def scores(self, features: Float[Tensor, "b d"]) -> Float32[Tensor, "b clusters"]:
        """Return the cosine of every unit-norm feature to every cluster, in float32 inside autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.float(), self.centres)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        scores = own_camera_only(self.scores(batch.first.embeddings), self.cameras, batch.cameras)
        labels = on_device(scores, batch.labels)
        weights = self.weights[labels] if len(self.weights) else None
        return memory_loss(scores, labels, temperature=self.temperature, weights=weights)

    def update(self, batch: Batch) -> None:
        """Let the samples of the batch move their clusters' vectors, in the order of the batch."""
        move_centres(self.centres, batch.first.embeddings, batch.labels, momentum=self.momentum, hard=self.hard)
