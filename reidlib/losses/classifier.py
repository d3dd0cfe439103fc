"""Softmax over the clusters or identities, by the scores of a trained linear layer or of cosines with a margin."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.labels.centres import cluster_centres
from reidlib.losses.softmax import scale_and_margin, smoothed_cross_entropy, soft_cross_entropy
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.models.embedder import Features
from reidlib.settings import Count, Epochs, NotNegative, Positive, Share

# of the papers: scale, margin
KNOWN: Mapping[str, tuple[float, float]] = {"cosine": (64.0, 0.35), "circle": (128.0, 0.25), "arc": (64.0, 0.5)}
SMALLEST_SQUARE = 1e-7

Scores = Float32[Tensor, "rows classes"]
Own = Bool[Tensor, "rows classes"]


class Classifier(Term):
    """Cross-entropy over the clusters of the features after the neck, one weight matrix per part of the network.

    The heads are `linear`, without bias [Luo et al., CVPRW 2019, arXiv:1903.07071]; `cosine` [Wang et al., CVPR 2018,
    arXiv:1801.09414]; `arc` [Deng et al., CVPR 2019, arXiv:1801.07698]; `circle` [Sun et al., CVPR 2020,
    arXiv:2002.10857]. The loss is the mean over images and parts.

    Where labels changed, clusters are numbered anew: cosine heads then start at the clusters' mean embeddings (apart
    from each other by normal numbers of deviation .01, where a cluster has several), a linear one at small normal
    weights (deviation .001), as the papers start. Where they did not, the weights are kept.

    Attributes:
        weight: float32 (C * centres, D), the centres of a cluster after each other, the parts side by side.
        cameras: int64 (C,), the camera of each cluster where clusters are local, else empty.
    """

    cameras: Tensor

    def __init__(
        self,
        *,
        head: Literal["linear", "cosine", "circle", "arc"] = "linear",
        smoothing: Share = 0.1,
        focal: NotNegative = 0.0,
        scale: Positive | None = None,
        margin: NotNegative | None = None,
        distillation: NotNegative = 0.0,
        centres: Count = 1,
        parts: list[Epochs] | None = None,
    ) -> None:
        """Hold no cluster yet.

        Args:
            head: how scores are made.
            smoothing: share of the target that is spread over all clusters.
            focal: power of the focal factor, which weighs easy samples down; 0 for none.
            scale: of the cosines, by default the paper's; a linear head has none.
            margin: that the own cluster must win by, by default the paper's; a linear head has none.
            distillation: weight of the soft cross-entropy of a second view towards the first, whose scores are taken
                without margin [Xuan & Zhang, TPAMI 2022].
            centres: of each cluster, the nearest of which counts [Deng et al., ECCV 2020, Sub-center ArcFace].
            parts: of a branched network, that are classified; all without.

        Raises:
            ValueError: scale, margin or several centres for a linear head.
        """
        super().__init__()
        self.scale, self.margin = scale_and_margin(head, KNOWN, scale=scale, margin=margin)
        self.head, self.smoothing, self.focal, self.distillation = head, smoothing, focal, distillation
        if head == "linear" and centres > 1:
            raise ValueError(f"linear: expected one centre of each cluster, found {centres}; choose a cosine head")
        self.centres, self.parts = centres, parts
        self.views = 2 if distillation else 1
        self.weight = nn.Parameter(torch.zeros(0, 0))
        self.register_buffer("cameras", torch.zeros(0, dtype=torch.int64))

    def begin(self, start: EpochStart) -> None:
        """EpochStart the weights anew where labels changed."""
        shape = (start.classes * self.centres, start.embeddings.shape[1])
        if start.renewed or self.weight.shape != shape:
            if self.head == "linear":
                fresh = torch.empty(shape).normal_(std=0.001)
            else:
                means = torch.from_numpy(cluster_centres(start.embeddings, start.labels))
                fresh = means.repeat_interleave(self.centres, dim=0)
            if self.centres > 1:
                fresh += torch.empty(shape).normal_(std=0.01)
            self.weight = nn.Parameter(fresh.to(start.device))
        self.cameras = start.class_cameras

    def scores(self, features: Features) -> Scores:
        """Return the score, or the cosine, of each part of each image to each cluster, part after part of an image."""
        with torch.autocast(features.necked.device.type, enabled=False):
            weight = self.weight.view(len(self.weight), *features.necked.shape[1:])
            weight = weight if self.parts is None else weight[:, self.parts]
            necked = features.of(self.parts).necked.float()
            if self.head != "linear":
                necked, weight = functional.normalize(necked, dim=2), functional.normalize(weight, dim=2)
            scores = torch.einsum("bpd,cpd->bpc", necked, weight).flatten(0, 1)
            return scores if self.centres == 1 else scores.view(len(scores), -1, self.centres).amax(dim=2)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        scores, parts = self.scores(batch.first), batch.first.of(self.parts).necked.shape[1]
        labels = on_device(scores, batch.labels.repeat(parts))
        own = labels[:, None] == torch.arange(scores.shape[1], device=scores.device)
        cameras = batch.cameras.repeat(parts)
        harder = own_camera_only(HARDER[self.head](scores, own, self.scale, self.margin), self.cameras, cameras)
        loss = smoothed_cross_entropy(harder, labels, smoothing=self.smoothing, focal=self.focal)
        if self.distillation:
            assert batch.second is not None
            views = scores, self.scores(batch.second)
            plain, converted = (own_camera_only(self.scale * one, self.cameras, cameras) for one in views)
            loss = loss + self.distillation * soft_cross_entropy(converted, plain)
        return loss


def _plain(scores: Scores, _own: Own, _scale: float, _margin: float) -> Scores:
    return scores


def _cosine(cosines: Scores, own: Own, scale: float, margin: float) -> Scores:
    """Return s (cos t - m) for the own cluster, s cos t for others."""
    return scale * (cosines - margin * own)


def _arc(cosines: Scores, own: Own, scale: float, margin: float) -> Scores:
    """Return s cos(t + m) for the own cluster, past 180 degrees s (cos t - m sin m), as the paper's code does."""
    sines = (1 - cosines**2).clamp_min(SMALLEST_SQUARE).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    turned = torch.where(cosines >= -math.cos(margin), turned, cosines - margin * math.sin(margin))
    return scale * torch.where(own, turned, cosines)


def _circle(cosines: Scores, own: Own, scale: float, margin: float) -> Scores:
    """Return s [1 + m - cos t]+ (cos t - 1 + m) for the own cluster, s [cos t + m]+ (cos t - m) for others.

    The brackets count as constants, as in the paper's code.
    """
    fixed = cosines.detach()
    wanted = (1 + margin - fixed).relu() * (cosines - 1 + margin)
    unwanted = (fixed + margin).relu() * (cosines - margin)
    return scale * torch.where(own, wanted, unwanted)


HARDER: Mapping[str, Callable[[Scores, Own, float, float], Scores]] = {
    "linear": _plain,
    "cosine": _cosine,
    "arc": _arc,
    "circle": _circle,
}
