"""CALR's camera alignment: features from which no camera can be told [Li et al., 2024, arXiv:2403.16450]."""

from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.losses.term import Batch, EpochStart, Term
from reidlib.settings import Count, NotNegative


class CameraAdversary(Term):
    """Cross-entropy of a small network that tells cameras by embeddings; its gradient reaches them reversed.

    The network has two hidden layers with batch normalisation, as in the paper's code. Two deviations from that code:
    no dropout, and one softmax where it takes three in a row. It lasts over epochs; 0 where there is one camera.
    """

    def __init__(self, *, hidden: Count = 100, strength: NotNegative = 1.0, until_epoch: Count | None = None) -> None:
        """Build a network for no images yet.

        Args:
            hidden: width of the hidden layers.
            strength: factor on the reversed gradient [Ganin & Lempitsky, ICML 2015, arXiv:1409.7495].
            until_epoch: from which epoch (from 0) on the loss is 0; 3 in the paper's code. None: it never ends.
        """
        super().__init__()
        self.hidden, self.strength, self.until_epoch = hidden, strength, until_epoch
        self.network = self._fresh(1, 1)

    def begin(self, start: EpochStart) -> None:
        """Build the network at first, and where the number of cameras changed."""
        cameras, width = int(start.cameras.max()) + 1, start.embeddings.shape[1]
        if self._sizes() != (width, cameras):
            self.network = self._fresh(width, cameras).to(start.device)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss of the network, whose gradient the features get reversed."""
        embeddings = batch.first.embeddings.float()
        over = self.until_epoch is not None and batch.epoch >= self.until_epoch
        if over or self._sizes()[1] < 2:
            return embeddings.sum() * 0
        with torch.autocast(embeddings.device.type, enabled=False):
            scores = self.network(reverse_gradient(embeddings, self.strength))
            return functional.cross_entropy(scores, on_device(scores, batch.cameras))

    def _sizes(self) -> tuple[int, int]:
        """Return width and cameras, by the shapes of the parameters, which a checkpoint brings along."""
        first, *_, last = self.network.parameters()
        return first.shape[1], len(last)

    def _fresh(self, width: int, cameras: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs in (width, self.hidden):
            layers += [
                nn.Linear(inputs, self.hidden),
                nn.BatchNorm1d(self.hidden, track_running_stats=False),
                nn.ReLU(),
            ]
        return nn.Sequential(*layers, nn.Linear(self.hidden, cameras))


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(features: Float[Tensor, "..."], strength: float) -> Float[Tensor, "..."]:
    """Return the features as they are; gradients come back through this times -strength."""
    found: Tensor = _Reversal.apply(features, strength)
    return found
