"""What a term of the training loss is, what it is told at an epoch's start, and what a batch is to it.

A term is one file of this room and a line in `reidlib.losses.total.TERMS`; the keyword-only parameters of its class are
its settings. Terms see the whole batch on every process, so that several processes agree with one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, Int64, Integer
from torch import Tensor, nn

from reidlib.batches.residence import on_device
from reidlib.labels.centres import class_cameras
from reidlib.models.embedder import Features


@dataclass(frozen=True, kw_only=True)
class EpochStart:
    """What a term is told at the start of an epoch, on which new labels were made.

    Attributes:
        epoch: from 0.
        embeddings: unit-norm rows of all training images.
        labels: clusters 0..C-1 without gaps, -1 = outlier.
        cameras: of the images, 0 or more.
        local: whether every cluster lies on one camera, and each batch too or not; scores of other cameras' clusters
            are then left out.
        renewed: whether the labels differ from those that the term was told last.
        device: where the batches will be.
    """

    epoch: int
    embeddings: Float32[np.ndarray, "n d"]
    labels: Int32[np.ndarray, "n"]
    cameras: Integer[np.ndarray, "n"]
    local: bool
    renewed: bool
    device: torch.device

    @property
    def classes(self) -> int:
        """The number of clusters."""
        return int(self.labels.max(initial=-1)) + 1

    @property
    def class_cameras(self) -> Int64[Tensor, "classes"]:
        """The camera of every cluster, on the device, where each lies on one; else nothing."""
        cameras = class_cameras(self.labels, self.cameras) if self.local else np.zeros(0, np.int64)
        return torch.from_numpy(cameras).to(self.device)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of b images as a term sees it, after the network's forward pass.

    Attributes:
        epoch: from 0.
        first: features of the images, with gradients (without, in `Term.update`).
        second: features of another view of the same images (augmented again, or converted to another camera's style),
            where a term asks for two `views`.
        rows: which images of the table.
        labels: their clusters, 0..C-1.
        cameras: of the images.
        generator: for what a term draws; the same draws on every process and after a resume.
    """

    epoch: int
    first: Features
    second: Features | None
    rows: Int64[np.ndarray, "b"]
    labels: Int64[np.ndarray, "b"]
    cameras: Int64[np.ndarray, "b"]
    generator: np.random.Generator


class Term(nn.Module):
    """One summand of the training loss; the loop calls `begin`, then, batch by batch, the module and `update`.

    What lasts over iterations is kept in buffers and parameters, which checkpoints hold; `begin` may replace them by
    ones of another shape. Parameters are trained by the optimiser of the network, at its rate times `rate`.

    Attributes:
        views: of each image that a batch must hold, 1 or 2.
        outliers_are_classes: whether every outlier counts as a cluster of its own, drawn into batches too.
        rate: factor on the learning rate for the term's own parameters.
    """

    views: int = 1
    outliers_are_classes: bool = False
    rate: float = 1.0

    def teach(self, embeddings: Float[np.ndarray, "n width"]) -> None:
        """Take the embeddings of all training images by another network; nothing to do unless a term learns from it."""

    def begin(self, start: EpochStart) -> None:
        """Make ready for an epoch; nothing to do unless a term says so. Draws come from torch's seeded generator."""

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss of a batch, in float32, differentiable in the features; nothing is changed here."""
        raise NotImplementedError

    def update(self, batch: Batch) -> None:
        """Take in a batch after the optimiser's step, outside autograd; nothing to do unless a term says so."""


def own_camera_only(
    scores: Float[Tensor, "b classes"], class_cameras: Integer[Tensor, "_"], cameras: Integer[np.ndarray, "b"]
) -> Float[Tensor, "b classes"]:
    """Return the scores with -inf for classes of other cameras than the sample's, so that a softmax leaves them out.

    Without cameras of the classes (`EpochStart.class_cameras`) the scores are returned as they are.
    """
    if not len(class_cameras):
        return scores
    return scores.masked_fill(on_device(scores, cameras)[:, None] != class_cameras, -torch.inf)
