"""IIDS, intra-camera stage: a classifier of its own for every camera [Xuan & Zhang, TPAMI 2022]."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from reidlib.batches.residence import on_device
from reidlib.labels.centres import class_cameras
from reidlib.losses.softmax import smoothed_cross_entropy, soft_cross_entropy
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.settings import NotNegative

EPSILON = 1e-5  # of torch's batch normalisation


class CameraClassifiers(Term):
    """Per camera, batch normalisation and softmax over the camera's clusters; the second view learns from the first.

    Cross-entropy of the first view, plus soft cross-entropy of the second, in another camera's style, towards the
    first, at temperature 1. The normalisation's bias is fixed at zero, and the linear layer has none, as in the paper's
    code.

    Attributes:
        weight: float32 (C, D), the classifiers of all cameras.
        gain: float32 (cameras, D), the scale of each camera's normalisation.
        cameras: int64 (C,), the camera of each cluster.
    """

    cameras: Tensor

    def __init__(self, *, distillation: NotNegative = 1.0, over_cameras: Literal["mean", "sum"] = "mean") -> None:
        """Hold no cluster yet.

        Args:
            distillation: weight of the soft cross-entropy; at 0 there is no second view.
            over_cameras: the loss is the mean over all images, or, as in the paper's code, the sum of the cameras'
                means over their own.
        """
        super().__init__()
        self.distillation, self.over_cameras = distillation, over_cameras
        self.views = 2 if distillation else 1
        self.weight, self.gain = nn.Parameter(torch.zeros(0, 0)), nn.Parameter(torch.zeros(0, 0))
        self.register_buffer("cameras", torch.zeros(0, dtype=torch.int64))

    def begin(self, start: EpochStart) -> None:
        """EpochStart the classifiers anew where labels changed: small normal weights, plain normalisation.

        Raises:
            ValueError: a cluster on two cameras.
        """
        self.cameras = torch.from_numpy(class_cameras(start.labels, start.cameras)).to(start.device)
        shape = (start.classes, start.embeddings.shape[1])
        if start.renewed or self.weight.shape != shape:
            self.weight = nn.Parameter(torch.empty(shape).normal_(std=0.001).to(start.device))
            self.gain = nn.Parameter(torch.ones(int(start.cameras.max()) + 1, shape[1], device=start.device))

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss, or the sum over cameras of each one's."""
        scores = self._scores(batch.first.pooled, batch.cameras)
        parts = batch.first.pooled.shape[1]
        labels = on_device(scores, batch.labels.repeat(parts))
        converted = None
        if self.distillation:
            assert batch.second is not None
            converted = self._scores(batch.second.pooled, batch.cameras)
        if self.over_cameras == "mean":
            return self._loss(scores, labels, converted)
        cameras = batch.cameras.repeat(parts)
        own = [on_device(scores, np.flatnonzero(cameras == camera)) for camera in np.unique(cameras)]
        losses = [self._loss(scores[i], labels[i], None if converted is None else converted[i]) for i in own]
        return torch.stack(losses).sum()

    def _loss(self, scores: Tensor, labels: Tensor, converted: Tensor | None) -> Float32[Tensor, ""]:
        loss = smoothed_cross_entropy(scores, labels)
        return loss if converted is None else loss + self.distillation * soft_cross_entropy(converted, scores)

    def _scores(
        self, pooled: Float[Tensor, "b parts d"], cameras: Int64[np.ndarray, "b"]
    ) -> Float32[Tensor, "rows clusters"]:
        """Return the scores of each part of each image, -inf for other cameras' clusters; statistics of the batch."""
        with torch.autocast(pooled.device.type, enabled=False):
            flat = pooled.flatten(1).float()
            means, variances, which = _statistics(flat, cameras)
            gain = self.gain[on_device(flat, cameras)]
            normed = (flat - means[which]) / (variances[which] + EPSILON).sqrt() * gain
            weight = self.weight.view(len(self.weight), *pooled.shape[1:])
            scores = torch.einsum("bpd,cpd->bpc", normed.view(pooled.shape), weight).flatten(0, 1)
            return own_camera_only(scores, self.cameras, cameras.repeat(pooled.shape[1]))


def _statistics(
    flat: Float32[Tensor, "b d"], cameras: Int64[np.ndarray, "b"]
) -> tuple[Float32[Tensor, "present d"], Float32[Tensor, "present d"], Int64[Tensor, "b"]]:
    """Return mean and (biased) variance of each camera of the batch, by number, and which of them each image has."""
    present, which, counts = np.unique(cameras, return_inverse=True, return_counts=True)
    members = (which == np.arange(len(present))[:, None]) / counts[:, None]
    shares, of = on_device(flat, members.astype(np.float32)), on_device(flat, which.astype(np.int64))
    means = shares @ flat
    return means, shares @ (flat - means[of]) ** 2, of
