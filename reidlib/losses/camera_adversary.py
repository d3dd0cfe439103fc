"""CALR's camera alignment: features from which no camera can be told [Li et al., 2024, arXiv:2403.16450]."""

from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.losses.term import Batch, EpochStart, Term
from reidlib.settings import Count, NotNegative

FIRST_LAYER = 3  # modules: linear, normalisation, ReLU


class CameraAdversary(Term):
    """Cross-entropy of a small network that tells cameras by embeddings; its gradient reaches them reversed.

    The network has two hidden layers with batch normalisation, and dropout behind the first, as in the paper's code;
    one deviation: its statistics are of the whole batch. It lasts over epochs; 0 where there is one camera.
    """

    def __init__(
        self,
        *,
        hidden: Count = 100,
        strength: NotNegative = 1.0,
        until_epoch: Count | None = 3,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        repeated_softmax: bool = True,
    ) -> None:
        """Build a network for no images yet.

        Args:
            hidden: width of the hidden layers.
            strength: factor on the reversed gradient [Ganin & Lempitsky, ICML 2015, arXiv:1409.7495].
            until_epoch: from which epoch (from 0) on the loss is 0; 3 in the paper's code. None: it never ends.
            dropout: probability of leaving out a number of the first hidden layer.
            repeated_softmax: whether the cross-entropy is of the probabilities as if they were scores, as in the
                paper's code: its network ends with a log-softmax, its loop takes the softmax of that, and its
                cross-entropy a third one. The loss then lies within 1 of log(cameras), and its gradient is small.
        """
        super().__init__()
        self.hidden, self.strength, self.until_epoch = hidden, strength, until_epoch
        self.dropout, self.repeated_softmax = dropout, repeated_softmax
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
            scores = self._scores(reverse_gradient(embeddings, self.strength), batch.generator)
            if self.repeated_softmax:
                scores = scores.softmax(dim=1)
            return functional.cross_entropy(scores, on_device(scores, batch.cameras))

    def _scores(self, features: Float[Tensor, "b d"], generator: np.random.Generator) -> Float[Tensor, "b cameras"]:
        """Return the network's scores; what is dropped is drawn by the batch's generator, alike on every process."""
        hidden = self.network[:FIRST_LAYER](features)
        if self.dropout:
            kept = on_device(hidden, generator.random(tuple(hidden.shape)) >= self.dropout)
            hidden = hidden * kept / (1 - self.dropout)
        scores: Tensor = self.network[FIRST_LAYER:](hidden)
        return scores

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
