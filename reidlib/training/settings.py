"""What the training loop is told, what it asks each epoch, and what it leaves."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from reidlib.images.variation import Augmentation
from reidlib.labels.quality import label_counts
from reidlib.models.embedder import Embedder
from reidlib.training.distributed import World

Labels = Int32[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train, whatever the labels and the loss.

    Attributes:
        epochs: times that labels are made anew.
        iterations: batches per epoch.
        optimiser: adam (weight decay as L2, as the published codes), adamw, or sgd with momentum .9.
        learning_rate: at its highest.
        backbone_rate: factor on it for the backbone.
        weight_decay: of the optimiser.
        warm_up: epochs over which the rate rises to it in a line [Luo et al., CVPRW 2019, arXiv:1903.07071].
        warm_up_from: the share of it that the rate rises from.
        decay_at: epochs (from 0) from each of which on the rate is multiplied by `decay_factor`.
        decay_factor: 0..1.
        cosine: whether the rate falls after the warm-up along half a cosine [Loshchilov & Hutter, ICLR 2017,
            arXiv:1608.03983], to 0 at the end.
        augmentation: of the training crops.
        precision: of the network's forward and backward pass; "auto" takes the one that is faster here.
        compile: let torch.compile make kernels for the network, where it can.
        clip_norm: largest norm of the gradient; None for any.
        log_every: iterations between two looks at the losses, at each of which the device is waited for.
        device_memory_gib: how much of a GPU's memory the images may take.
        seed: of sampling and augmentation.
    """

    epochs: int
    iterations: int
    optimiser: Literal["adam", "adamw", "sgd"]
    learning_rate: float
    backbone_rate: float
    weight_decay: float
    warm_up: int
    warm_up_from: float
    decay_at: Sequence[int]
    decay_factor: float
    cosine: bool
    augmentation: Augmentation
    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    clip_norm: float | None
    log_every: int
    device_memory_gib: float
    seed: int

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0)."""
        share = self.decay_factor ** sum(epoch >= first for first in self.decay_at)
        if epoch < self.warm_up:
            share *= self.warm_up_from + (1 - self.warm_up_from) * epoch / self.warm_up
        elif self.cosine:
            share *= (1 + math.cos(math.pi * (epoch - self.warm_up) / max(self.epochs - self.warm_up, 1))) / 2
        return float(self.learning_rate * share)


@dataclass(frozen=True)
class EpochLabels:
    """The pseudo-labels of an epoch and what can be said of them without identities (finite numbers by name)."""

    labels: Labels
    measures: dict[str, float]


Labeller = Callable[[int, Float32[np.ndarray, "n d"], World, Sequence[Labels]], EpochLabels]
"""Called on every rank with the epoch (from 0), the unit-norm embeddings of all images, the world and the labels of all
epochs before."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs of one kind: how their images are labelled and drawn, and what loss they train.

    Attributes:
        label: makes the labels.
        loss: terms by name, with their settings; see `reidlib.training.objective`.
        sampling: how batches are drawn; see `reidlib.images.sampling`.
        clusters_per_batch: P of the P x K sampling.
        images_per_cluster: K of it.
        local: whether every cluster lies on one camera.
        epochs: how many in a row, where phases take turns.
    """

    label: Labeller
    loss: Mapping[str, Mapping[str, Any]]
    sampling: Literal["mixed", "camera", "every_camera"]
    clusters_per_batch: int
    images_per_cluster: int
    local: bool
    epochs: int = 1


def turn(phases: Sequence[Phase], epoch: int) -> int:
    """Return which phase an epoch (from 0) belongs to; phases take turns, each for its number of epochs.

    >>> batches = {"sampling": "mixed", "clusters_per_batch": 16, "images_per_cluster": 4}
    >>> phases = [Phase(label=print, loss={}, local=epochs == 3, epochs=epochs, **batches) for epochs in (3, 2)]
    >>> [turn(phases, epoch) for epoch in range(7)]
    [0, 0, 0, 1, 1, 0, 0]
    """
    in_turn = [number for number, phase in enumerate(phases) for _ in range(phase.epochs)]
    return in_turn[epoch % len(in_turn)]


@dataclass(frozen=True)
class Trained:
    """What a stage of training leaves.

    Attributes:
        models: one network, or one per camera in the order of the camera numbers.
        labels: the labels of the kept epoch.
        curves: epoch, loss, learning_rate and the labels' measures; camera too where each has a network.
        epochs: epoch (int16), row (int32) and label (int32) of every image in every epoch.
    """

    models: list[Embedder]
    labels: Labels
    curves: pd.DataFrame
    epochs: pd.DataFrame

    def last_epoch(self) -> dict[str, float]:
        """Return the last epoch's row of the curves; measures that other phases alone have (NaN) are left out."""
        return {str(name): float(value) for name, value in self.curves.iloc[-1].dropna().items()}

    def summary(self) -> dict[str, float]:
        """Return the last epoch's loss (mean over networks), and the kept labels' clusters and share of outliers."""
        last = self.curves[self.curves["epoch"] == self.curves["epoch"].max()]
        loss = {"loss": float(last["loss"].mean())} if len(last) else {}
        return loss | label_counts(self.labels)


@dataclass
class History:
    """What a training run leaves besides its weights: one row of measures, and one array of labels, per epoch."""

    curves: list[dict[str, float]] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)

    def of(self, model: Embedder, *, kept: int = -1) -> Trained:
        """Return what the run leaves, beside the model and the labels of the epoch that is kept, as tables."""
        rows = np.arange(len(self.labels[0]), dtype=np.int32)
        epochs = [
            pd.DataFrame({"epoch": np.int16(epoch), "row": rows, "label": labels})
            for epoch, labels in enumerate(self.labels)
        ]
        return Trained([model], self.labels[kept], pd.DataFrame(self.curves), pd.concat(epochs, ignore_index=True))
