"""What the training loop is told, what it asks each epoch, and what it leaves."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from reidlib.images.variation import Augmentation
from reidlib.training.distributed import World


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train on given labels.

    Attributes:
        epochs: times that labels are made anew.
        iterations: batches per epoch.
        clusters_per_batch: P of the P x K sampling.
        images_per_cluster: K of it.
        learning_rate: of Adam.
        weight_decay: of Adam (L2, as the published codes).
        decay_every: epochs after which the learning rate is multiplied by `decay_factor`.
        decay_factor: 0..1.
        temperature: of the softmax over the clusters' cosine scores.
        momentum: share of the old centre that a memory update keeps.
        within_cameras: each batch comes from one camera and is scored against that camera's clusters only.
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
    clusters_per_batch: int
    images_per_cluster: int
    learning_rate: float
    weight_decay: float
    decay_every: int
    decay_factor: float
    temperature: float
    momentum: float
    within_cameras: bool
    augmentation: Augmentation
    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    clip_norm: float | None
    log_every: int
    device_memory_gib: float
    seed: int

    @property
    def batch_size(self) -> int:
        """The images of a batch, over all processes."""
        return self.clusters_per_batch * self.images_per_cluster

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0)."""
        return self.learning_rate * self.decay_factor ** (epoch // self.decay_every)


@dataclass(frozen=True)
class EpochLabels:
    """The pseudo-labels of an epoch and what can be said of them without identities (finite numbers by name)."""

    labels: Int32[np.ndarray, "n"]
    measures: dict[str, float]


Labeller = Callable[[int, Float32[np.ndarray, "n d"], World], EpochLabels]
"""Called on every rank with the epoch (from 0), the unit-norm embeddings of all images and the world."""


@dataclass
class History:
    """What a training run leaves besides its weights: one row of measures, and one array of labels, per epoch."""

    curves: list[dict[str, float]] = field(default_factory=list)
    labels: list[Int32[np.ndarray, "n"]] = field(default_factory=list)

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
