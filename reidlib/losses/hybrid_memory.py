"""The hybrid memory of SpCL: a feature per image, clusters and outliers alike as classes [Ge et al., NeurIPS 2020]."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.losses.centres import move_centres
from reidlib.losses.softmax import memory_loss
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.settings import Positive, Share


class HybridMemory(Term):
    """Cross-entropy of the mean cosines to the classes' members; an outlier is a class of one [arXiv:2006.02713].

    Each sample of the batch in turn moves the feature of its own image: f <- normalise(momentum * f +
    (1 - momentum) * q). As in the paper the features are filled once and then live on; a new epoch only numbers the
    classes anew. The classes of a labelled source domain are more clusters, whose members are remembered one by one,
    where the paper keeps a vector for each.

    One deviation: the paper clusters these features, here labels come from embeddings that are made anew each epoch.

    Attributes:
        features: float32 (N, D), unit-norm rows.
        order: int64 (N,), the images that have a class, class by class.
        starts: int64 (C,), where each class begins in `order`.
        cameras: int64 (C,), the camera of each class where classes are local, else empty.
    """

    features: Tensor
    order: Tensor
    starts: Tensor
    cameras: Tensor
    outliers_are_classes = True

    def __init__(self, *, temperature: Positive = 0.05, momentum: Share = 0.2) -> None:
        """Hold no image yet.

        Args:
            temperature: of the softmax over mean cosines.
            momentum: share of an image's old feature that a sample leaves.
        """
        super().__init__()
        self.temperature, self.momentum = temperature, momentum
        self.register_buffer("features", torch.zeros(0, 0))
        for name in ("order", "starts", "cameras"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def begin(self, start: EpochStart) -> None:
        """Note the members of every class; take over the embeddings where there are none yet, or of another shape."""
        if self.features.shape != start.embeddings.shape:
            self.features = torch.from_numpy(start.embeddings.copy()).to(start.device)
        order = np.argsort(start.labels, kind="stable")
        order = order[np.count_nonzero(start.labels < 0) :]
        sizes = np.bincount(start.labels[order])
        self.order = torch.from_numpy(order).to(start.device)
        self.starts = torch.from_numpy(np.cumsum(sizes) - sizes).to(start.device)
        self.cameras = start.class_cameras

    def scores(self, features: Float[Tensor, "b d"]) -> Float32[Tensor, "b classes"]:
        """Return the mean cosine of every unit-norm feature to the members of every class, in float32 always.

        It is the product with the members' mean, so that N * D + b * C * D operations do instead of b * N * D.
        """
        with torch.autocast(features.device.type, enabled=False):
            means = functional.embedding_bag(self.order, self.features, self.starts, mode="mean")
            return functional.linear(features.float(), means)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        scores = own_camera_only(self.scores(batch.first.embeddings), self.cameras, batch.cameras)
        return memory_loss(scores, on_device(scores, batch.labels), temperature=self.temperature)

    def update(self, batch: Batch) -> None:
        """Let the samples of the batch move their images' features, in the order of the batch."""
        move_centres(self.features, batch.first.embeddings, batch.rows, momentum=self.momentum)
