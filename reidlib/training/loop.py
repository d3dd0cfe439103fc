"""The training loop: embed, label, reset the memory, then batches of forward, loss, backward, step, memory update."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int32, Integer, UInt8
from torch import Tensor

from reidlib.features import device, embed
from reidlib.images.augment import augment
from reidlib.images.sampling import camera_pk_batches, pk_batches
from reidlib.images.variation import Augmentation
from reidlib.models.embedder import Embedder
from reidlib.progress import progress
from reidlib.training.losses import memory_loss
from reidlib.training.memories import ClusterMemory


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
    seed: int


@dataclass(frozen=True)
class EpochLabels:
    """The pseudo-labels of an epoch and what can be said of them without identities (finite numbers by name)."""

    labels: Int32[np.ndarray, "n"]
    measures: dict[str, float]


Labeller = Callable[[int, Float32[np.ndarray, "n d"]], EpochLabels]


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


def train(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    cameras: Integer[np.ndarray, "n"],
    *,
    label: Labeller,
    settings: Settings,
) -> History:
    """Train a model in place on labels that are made anew each epoch from its own embeddings.

    Args:
        model: trained in place, moved to the device.
        images: packed RGB crops.
        cameras: of the images; used by the sampling.
        label: called with the epoch (from 0) and the unit-norm embeddings of all images.
        settings: epochs, batches, optimiser, memory, augmentation and seed.

    Returns:
        The curves (epoch from 1, loss, learning rate, the labels' measures) and the labels of every epoch.

    Raises:
        ValueError: where the loss is not finite, with the epoch and the learning rate; and what `label` raises.
    """
    where = device()
    model.to(where).to(memory_format=torch.channels_last)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    decay = torch.optim.lr_scheduler.StepLR(optimiser, settings.decay_every, settings.decay_factor)
    generator = np.random.default_rng(settings.seed)
    history, began = History(), perf_counter()
    for epoch in range(settings.epochs):
        embeddings = embed(model, images)
        labelled = label(epoch, embeddings)
        known = cameras if settings.within_cameras else None
        memory = ClusterMemory.from_embeddings(embeddings, labelled.labels, momentum=settings.momentum, cameras=known)
        rate = float(optimiser.param_groups[0]["lr"])
        started = perf_counter()
        losses = _train_epoch(
            model, memory.to(where), optimiser, images, labelled.labels, cameras, settings=settings, generator=generator
        )
        now = perf_counter()
        curve: dict[str, float] = {
            "epoch": float(epoch + 1),
            "loss": _mean(losses, epoch, rate),
            "learning_rate": rate,
            **labelled.measures,
        }
        history.curves.append(curve)
        history.labels.append(labelled.labels)
        decay.step()
        drawn = settings.iterations * settings.clusters_per_batch * settings.images_per_cluster
        left = (now - began) / (epoch + 1) * (settings.epochs - epoch - 1)
        line = _line(curve, of=settings.epochs, images_per_second=drawn / (now - started), seconds_left=left)
        print(line, flush=True)
    model.eval()
    return history


def _train_epoch(
    model: Embedder,
    memory: ClusterMemory,
    optimiser: torch.optim.Optimizer,
    images: UInt8[np.ndarray, "n h w 3"],
    labels: Int32[np.ndarray, "n"],
    cameras: Integer[np.ndarray, "n"],
    *,
    settings: Settings,
    generator: np.random.Generator,
) -> Float32[Tensor, "iterations"]:
    """Take the batches of one epoch; return their losses, on the device: nothing here waits for it."""
    where = memory.centres.device
    batches = (camera_pk_batches if settings.within_cameras else pk_batches)(
        labels,
        cameras,
        identities_per_batch=settings.clusters_per_batch,
        images_per_identity=settings.images_per_cluster,
        batches=settings.iterations,
        generator=generator,
    )
    losses = []
    model.train()
    for rows in progress(batches, "training", total=settings.iterations):
        batch = augment(images, generator, settings=settings.augmentation, rows=rows, channels_last=True)
        target = torch.from_numpy(labels[rows].astype(np.int64))
        own = torch.from_numpy(cameras[rows].astype(np.int64)) if settings.within_cameras else None
        features = model(batch.to(where))
        loss = memory_loss(memory.scores(features, own), target.to(where), temperature=settings.temperature)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        memory.update(features, target)
        losses.append(loss.detach())
    return torch.stack(losses)


def _mean(losses: Tensor, epoch: int, rate: float) -> float:
    """Read the epoch's losses from the device, once."""
    mean = float(losses.mean())
    if not np.isfinite(mean):
        raise ValueError(
            f"training diverged: the loss of epoch {epoch + 1} is {mean} at learning rate {rate:g}; lower "
            "learning_rate or raise temperature"
        )
    return mean


def _line(curve: dict[str, float], *, of: int, images_per_second: float, seconds_left: float) -> str:
    """Return the one line that a person reads after each epoch."""
    measures = " ".join(
        f"{name} {value:.4g}" for name, value in curve.items() if name not in ("epoch", "learning_rate")
    )
    return (
        f"epoch {curve['epoch']:>3.0f}/{of}  {measures}  {images_per_second:,.0f} images/s  "
        f"{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left"
    )
