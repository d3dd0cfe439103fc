"""Losses over all pairs of a batch, on cosines."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.losses.softmax import scale_and_margin
from reidlib.losses.term import Batch, Term
from reidlib.settings import Epochs, NotNegative, Positive

# of the paper, for re-identification: scale, margin
KNOWN: Mapping[str, tuple[float, float]] = {"circle": (128.0, 0.25), "cosface": (128.0, 0.25)}
LOWEST = -1e30  # finite, so that images without a pair have a gradient; it is 0, as their loss is


class MetricPairs(Term):
    """A pair loss on the cosines before the neck, the mean over the parts; images without pairs do not count.

    `circle` [Sun et al., CVPR 2020, arXiv:2002.10857]; `cosface`, that paper's equation 1, the same without self-paced
    factors: log(1 + sum_n exp(s (cos_n + m)) * sum_p exp(-s cos_p)); `multi_similarity` [Wang et al., CVPR 2019,
    arXiv:1904.06627], alpha 2. Multi-similarity counts images without pairs as 0.
    """

    def __init__(
        self,
        *,
        loss: Literal["circle", "multi_similarity", "cosface"] = "circle",
        scale: Positive | None = None,
        margin: NotNegative | None = None,
        beta: Positive = 50.0,
        base: float = 0.5,
        mining: bool = True,
        parts: list[Epochs] | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            loss: which of them.
            scale: of the cosines, by default the paper's; multi-similarity has none.
            margin: by default the paper's; multi-similarity has none.
            beta: how sharply multi-similarity weighs negatives.
            base: cosine about which it weighs pairs: .5 as in the paper's code, 1 in its text.
            mining: whether it takes only the pairs that its miner leaves, epsilon .1.
            parts: of a branched network, that are compared; all without.

        Raises:
            ValueError: scale or margin for multi-similarity.
        """
        from pytorch_metric_learning.losses import CircleLoss, MultiSimilarityLoss  # takes a second: for its users
        from pytorch_metric_learning.miners import MultiSimilarityMiner

        super().__init__()
        self.scale, self.margin = scale_and_margin(loss, KNOWN, scale=scale, margin=margin)
        self.loss, self.mining, self.parts = loss, mining, parts
        self._circle = CircleLoss(m=self.margin, gamma=self.scale)
        self._multi_similarity = MultiSimilarityLoss(alpha=2, beta=beta, base=base)
        self._miner = MultiSimilarityMiner(0.1)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        pooled = batch.first.of(self.parts).pooled
        labels = on_device(pooled, batch.labels)
        with torch.autocast(pooled.device.type, enabled=False):
            return torch.stack([self._part(part, labels) for part in pooled.float().unbind(1)]).mean()

    def _part(self, features: Float32[Tensor, "b d"], labels: Int64[Tensor, "b"]) -> Float32[Tensor, ""]:
        if self.loss == "circle":
            return self._circle(features, labels)
        if self.loss == "multi_similarity":
            pairs = self._miner(features, labels) if self.mining else None
            return self._multi_similarity(features, labels, pairs)
        return cosface_pairs(features, labels, scale=self.scale, margin=self.margin)


def cosface_pairs(
    features: Float32[Tensor, "b d"], labels: Int64[Tensor, "b"], *, scale: float, margin: float
) -> Float32[Tensor, ""]:
    """Return the mean over images that have both of log(1 + sum_n exp(s (cos_n + m)) * sum_p exp(-s cos_p))."""
    unit = functional.normalize(features)
    cosines, same = unit @ unit.T, labels[:, None] == labels
    positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    both = positive.any(dim=1) & ~same.all(dim=1)
    wanted = (-scale * cosines).masked_fill(~positive, LOWEST).logsumexp(dim=1)
    unwanted = (scale * (cosines + margin)).masked_fill(same, LOWEST).logsumexp(dim=1)
    return functional.softplus(wanted + unwanted).sum() / both.sum().clamp_min(1)
