"""Triplet losses: an image is to be nearer to its cluster's images than to others of the batch."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.losses.softmax import soft_cross_entropy
from reidlib.losses.term import Batch, Term
from reidlib.models.embedder import Features
from reidlib.settings import NotNegative

Distances = Float32[Tensor, "parts anchors b"]
Pairs = Bool[Tensor, "anchors b"]


class Triplet(Term):
    """Hinge or softplus of the distance to positives minus that to negatives, Euclidean, before the neck or after it.

    `hard` takes the farthest positive and the nearest negative of the batch [Hermans et al., 2017, arXiv:1703.07737].
    `weighted` takes means over all, weighted by the softmax of the distances to positives and of the negated distances
    to negatives, and always the softplus [Ye et al., TPAMI 2021, arXiv:2001.04193]; the image itself is no positive
    of its own here, as it is in that paper's code. The loss is the mean over the images that have both, and over the
    parts; 0 where no image has.
    """

    def __init__(
        self,
        *,
        margin: NotNegative = 0.3,
        mining: Literal["hard", "weighted"] = "hard",
        soft: bool = False,
        distillation: NotNegative = 0.0,
        after_neck: bool = False,
    ) -> None:
        """Keep the settings.

        Args:
            margin: of the hinge.
            mining: how positives and negatives are chosen.
            soft: the softplus in the place of the hinge.
            distillation: weight of the soft cross-entropy of a second view towards the first, over the two distances
                of the second view's hardest triplets [Ge et al., ICLR 2020, arXiv:2001.01526], as IIDS has it
                [Xuan & Zhang, TPAMI 2022].
            after_neck: which features are compared.
        """
        super().__init__()
        self.margin, self.mining, self.soft, self.distillation = (
            margin,
            mining,
            soft or mining == "weighted",
            distillation,
        )
        self.after_neck = after_neck
        self.views = 2 if distillation else 1

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        same = batch.labels[:, None] == batch.labels
        others = same & ~np.eye(len(same), dtype=bool)
        anchors = np.flatnonzero(others.any(axis=1) & ~same.all(axis=1))
        pooled = self._compared(batch.first)
        if not len(anchors):
            return pooled.float().sum() * 0
        rows, positive, negative = (on_device(pooled, values) for values in (anchors, others[anchors], ~same[anchors]))
        first = _distances(pooled)[:, rows]
        far, near = MINING[self.mining](first, positive, negative)
        loss = (functional.softplus(far - near) if self.soft else (far - near + self.margin).relu()).mean()
        if self.distillation:
            assert batch.second is not None
            second = _distances(self._compared(batch.second))[:, rows]
            hardest = _hardest(second, positive, negative)
            chosen, taught = (distances.gather(2, hardest).flatten(0, 1) for distances in (second, first))
            loss = loss + self.distillation * soft_cross_entropy(chosen, taught)
        return loss

    def _compared(self, features: Features) -> Float[Tensor, "b parts d"]:
        return features.necked if self.after_neck else features.pooled


def _distances(pooled: Float[Tensor, "b parts d"]) -> Float32[Tensor, "parts b b"]:
    """Return the distances between the images of a batch, part by part; without gradient where they are 0."""
    with torch.autocast(pooled.device.type, enabled=False):
        parts = pooled.float().transpose(0, 1).contiguous()
        # of large batches torch multiplies matrices, which loses digits far from the origin
        parts = parts - parts.detach().mean(dim=1, keepdim=True)
        return torch.cdist(parts, parts)


def _hardest(distances: Distances, positive: Pairs, negative: Pairs) -> Tensor:
    """Return, as (parts, anchors, 2), where the farthest positive and the nearest negative are."""
    far = distances.masked_fill(~positive, -torch.inf).argmax(dim=2)
    near = distances.masked_fill(~negative, torch.inf).argmin(dim=2)
    return torch.stack([far, near], dim=2)


def _hard(distances: Distances, positive: Pairs, negative: Pairs) -> tuple[Tensor, Tensor]:
    far, near = distances.gather(2, _hardest(distances, positive, negative)).unbind(2)
    return far, near


def _weighted(distances: Distances, positive: Pairs, negative: Pairs) -> tuple[Tensor, Tensor]:
    far = distances.masked_fill(~positive, -torch.inf).softmax(dim=2)
    near = (-distances).masked_fill(~negative, -torch.inf).softmax(dim=2)
    return (far * distances).sum(dim=2), (near * distances).sum(dim=2)


MINING = {"hard": _hard, "weighted": _weighted}
