"""What the training loop is told, what it asks each epoch, and what it leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from reidlib.images.variation import Augmentation
from reidlib.training.distributed import World
from reidlib.training.schedules import rate_share


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
        warm_up: epochs in which the rate rises to it; this and the next four as in `rate_share`.
        warm_up_from: the share of it that the rate rises from.
        decay_at: epochs at which the rate is multiplied by `decay_factor`.
        decay_factor: 0..1.
        cosine: whether the rate falls along half a cosine.
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
        share = rate_share(
            epoch,
            self.epochs,
            warm_up=self.warm_up,
            warm_up_from=self.warm_up_from,
            decay_at=self.decay_at,
            decay_factor=self.decay_factor,
            cosine=self.cosine,
        )
        return self.learning_rate * share


@dataclass(frozen=True)
class EpochLabels:
    """The pseudo-labels of an epoch and what can be said of them without identities (finite numbers by name)."""

    labels: Int32[np.ndarray, "n"]
    measures: dict[str, float]


Labels = Int32[np.ndarray, "n"]
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
    place = epoch % sum(phase.epochs for phase in phases)
    for number, phase in enumerate(phases):
        if place < phase.epochs:
            return number
        place -= phase.epochs
    raise AssertionError("a place within the round belongs to a phase")


@dataclass
class History:
    """What a training run leaves besides its weights: one row of measures, and one array of labels, per epoch."""

    curves: list[dict[str, float]] = field(default_factory=list)
    labels: list[Int32[np.ndarray, "n"]] = field(default_factory=list)

    def of_first(self, images: int) -> "History":
        """Return the history with the labels of the first so many images alone."""
        return History(self.curves, [labels[:images] for labels in self.labels])

    def curve_table(self) -> pd.DataFrame:
        """Return the measures, a row per epoch."""
        return pd.DataFrame(self.curves)

    def label_table(self) -> pd.DataFrame:
        """Return epoch (int16), row (int32) and label (int32) of every image in every epoch."""
        rows = np.arange(len(self.labels[0]), dtype=np.int32)
        return pd.concat(
            [
                pd.DataFrame({"epoch": np.int16(epoch), "row": rows, "label": labels})
                for epoch, labels in enumerate(self.labels)
            ],
            ignore_index=True,
        )
