"""Training inside cameras, by one shared network or one network per camera, and the local labels that come of it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from reidlib.features import Images
from reidlib.labels.numbering import number_clusters
from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.distributed import ALONE, World
from reidlib.training.labellers import Cameras, local_labeller
from reidlib.training.loop import train
from reidlib.training.settings import History, Labels, Phase, Settings, Trained


@dataclass(frozen=True, kw_only=True)
class Inside:
    """How to train inside cameras; its repr leaves out where it is done.

    Attributes:
        clustering: how labels are made in the epochs after the first: k1, k2, original_weight and method, as
            `reidlib.labels.clustering.local_clusters` takes them.
        keep: the epoch whose labels are kept: the one of the best silhouette, or the last.
        phase: batches and loss, as `Phase` takes them.
        settings: of the loop; with 0 epochs nothing is trained and the first labels are kept.
        world: the processes that train together.
        checkpoints: where to go on from.
    """

    clustering: Mapping[str, Any]
    keep: Literal["best_silhouette", "last"]
    phase: Mapping[str, Any]
    settings: Settings
    world: World = field(default=ALONE, repr=False)
    checkpoints: Checkpoints = field(default_factory=Checkpoints, repr=False)


def train_shared(model: Embedder, images: Images, cameras: Cameras, first: Labels, how: Inside) -> Trained:
    """Train one network for all cameras: each batch from one camera, scored against that camera's clusters.

    Our form of the intra-camera stage: the original [Li et al., ICIP 2023, arXiv:2304.12634] trains a network per
    camera (`train_per_camera`), whose backbones share nothing.

    Args:
        model: trained in place.
        images: packed RGB crops.
        cameras: of the images.
        first: the local labels of the first epoch, unique over cameras.
        how: labels, batches, loss and loop.
    """
    if how.settings.epochs == 0:
        columns = ["epoch", "loss", "learning_rate", "clusters", "outlier_share", "silhouette"]
        return replace(History(labels=[first]).of(model), curves=pd.DataFrame(columns=columns))
    label = local_labeller(first, cameras, clustering=how.clustering, seed=how.settings.seed)
    phases = [Phase(label=label, local=True, **how.phase)]
    history = train(
        model, images, cameras, phases=phases, settings=how.settings, world=how.world, checkpoints=how.checkpoints
    )
    if how.keep == "last":
        return history.of(model)
    return history.of(model, kept=int(np.argmax([curve["silhouette"] for curve in history.curves])))


def train_per_camera(model: Embedder, images: Images, cameras: Cameras, first: Labels, how: Inside) -> Trained:
    """Train one network per camera, each on a copy of `model`; arguments as in `train_shared`.

    A camera with fewer than two images, or without a local cluster, keeps the starting weights and the first labels.
    The images of one camera at a time are held in memory.
    """
    models, curves, epochs = [], [], []
    kept = np.full(len(images), -1, np.int64)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        own = copy.deepcopy(model)
        models.append(own)
        if first[rows].max() < 0:
            continue
        here = replace(how, checkpoints=how.checkpoints.part(f"camera_{camera}"))
        part = train_shared(own, images[rows], cameras[rows], number_clusters(first[rows]), here)
        kept[rows] = np.where(part.labels >= 0, part.labels + kept.max() + 1, -1)
        curves.append(part.curves.assign(camera=int(camera)))
        epochs.append(part.epochs.assign(row=rows[part.epochs["row"]].astype(np.int32)))
    return Trained(models, number_clusters(kept), pd.concat(curves), pd.concat(epochs))


SHARING = {"shared": train_shared, "per_camera": train_per_camera}
