"""Training inside cameras, by one shared network or one network per camera, and the local labels that come of it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Int32, Integer, UInt8

from reidlib.labels.numbering import number_clusters
from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.distributed import ALONE, World
from reidlib.training.labellers import LocalLabelling, local_labeller
from reidlib.training.loop import train
from reidlib.training.settings import History, Phase, Settings


@dataclass(frozen=True)
class IntraTraining:
    """What training inside cameras leaves.

    Attributes:
        models: one shared network, or one per camera in the order of the camera numbers.
        labels: the local labels of the kept epoch, unique over cameras.
        curves: epoch, loss, learning_rate, clusters, outlier_share, silhouette, and camera
            where there are several runs.
        epochs: epoch, row and label of every image in every epoch.
    """

    models: list[Embedder]
    labels: Int32[np.ndarray, "n"]
    curves: pd.DataFrame
    epochs: pd.DataFrame

    def summary(self) -> dict[str, float]:
        """Return the last epoch's loss (mean over networks), and the kept labels' clusters and share of outliers."""
        last = self.curves[self.curves["epoch"] == self.curves["epoch"].max()]
        loss = {"loss": float(last["loss"].mean())} if len(last) else {}
        return loss | {
            "clusters": float(self.labels.max() + 1),
            "outlier_share": float((self.labels < 0).mean()),
        }


def train_shared(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    cameras: Integer[np.ndarray, "n"],
    first: Int32[np.ndarray, "n"],
    *,
    labelling: LocalLabelling,
    phase: Mapping[str, Any],
    settings: Settings,
    world: World = ALONE,
    checkpoints: Checkpoints | None = None,
) -> IntraTraining:
    """Train one network for all cameras: each batch from one camera, scored against that camera's clusters.

    Our form of the intra-camera stage: the original [Li et al., ICIP 2023, arXiv:2304.12634] trains a network per
    camera (`train_per_camera`), whose backbones share nothing.

    Args:
        model: trained in place.
        images: packed RGB crops.
        cameras: of the images.
        first: the local labels of the first epoch, unique over cameras.
        labelling: how labels are made in the epochs after it, and which epoch's labels are kept.
        phase: batches and loss, as `Phase` takes them.
        settings: of the loop; with 0 epochs nothing is trained and the first labels are kept.
        world: the processes that train together.
        checkpoints: where to go on from.
    """
    if settings.epochs == 0:
        columns = ["epoch", "loss", "learning_rate", "clusters", "outlier_share", "silhouette"]
        return IntraTraining([model], first, pd.DataFrame(columns=columns), History(labels=[first]).label_table())
    label = local_labeller(first, cameras, labelling=labelling, seed=settings.seed)
    phases = [Phase(label=label, local=True, **phase)]
    history = train(model, images, cameras, phases=phases, settings=settings, world=world, checkpoints=checkpoints)
    kept = history.labels[_kept_epoch(history, labelling.keep)]
    return IntraTraining([model], kept, history.curve_table(), history.label_table())


def train_per_camera(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    cameras: Integer[np.ndarray, "n"],
    first: Int32[np.ndarray, "n"],
    *,
    labelling: LocalLabelling,
    phase: Mapping[str, Any],
    settings: Settings,
    world: World = ALONE,
    checkpoints: Checkpoints | None = None,
) -> IntraTraining:
    """Train one network per camera, each on a copy of `model`; arguments as in `train_shared`.

    A camera with fewer than two images, or without a local cluster, keeps the starting weights and the first labels.
    The images of one camera at a time are held in memory.
    """
    checkpoints = checkpoints or Checkpoints()
    models, curves, epochs = [], [], []
    kept = np.full(len(images), -1, np.int64)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        own = copy.deepcopy(model)
        models.append(own)
        if first[rows].max() < 0:
            continue
        part = train_shared(
            own,
            images[rows],
            cameras[rows],
            number_clusters(first[rows]),
            labelling=labelling,
            phase=phase,
            settings=settings,
            world=world,
            checkpoints=checkpoints.part(f"camera_{camera}"),
        )
        kept[rows] = np.where(part.labels >= 0, part.labels + kept.max() + 1, -1)
        curves.append(part.curves.assign(camera=int(camera)))
        epochs.append(part.epochs.assign(row=rows[part.epochs["row"]].astype(np.int32)))
    return IntraTraining(models, number_clusters(kept), pd.concat(curves), pd.concat(epochs))


SHARING = {"shared": train_shared, "per_camera": train_per_camera}


def _kept_epoch(history: History, keep: Literal["best_silhouette", "last"]) -> int:
    if keep == "last":
        return -1
    return int(np.argmax([curve["silhouette"] for curve in history.curves]))
