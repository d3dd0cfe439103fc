"""Training inside cameras, by one shared network or one network per camera, and the local labels that come of it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from reidlib.labels.local import LocalLabelling
from reidlib.labels.numbering import number_clusters
from reidlib.models.embedder import Embedder
from reidlib.settings import arguments
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.distributed import ALONE, World
from reidlib.training.loop import train
from reidlib.training.phases import Cameras, LocalLabeller
from reidlib.training.plan import IntraStage, Labels, Phase, Settings, read_plan
from reidlib.training.results import TrainingResult, training_result

Images = UInt8[np.ndarray, "n h w 3"]


@dataclass(frozen=True, kw_only=True)
class Inside:
    """How to train inside cameras.

    Attributes:
        stage: one network or one per camera, and which epoch's labels are kept.
        labelling: how labels are made in the epochs after the first.
        batches: sampling, clusters_per_batch, images_per_cluster and loss, as `Phase` takes them.
        settings: of the loop.
        world: the processes that train together.
        checkpoints: where to go on from.
    """

    stage: IntraStage
    labelling: LocalLabelling
    batches: Mapping[str, Any]
    settings: Settings
    world: World = ALONE
    checkpoints: Checkpoints = field(default_factory=Checkpoints)


def read_inside(params: Mapping[str, Any], *, world: World, checkpoints: Checkpoints) -> Inside:
    """Return how params.yaml says to train inside cameras (with the stage's other parameters)."""
    settings, batches, stage = read_plan(params, "train_intra")
    labelling = LocalLabelling(**arguments(params["cluster"], of=LocalLabelling, where="cluster"))
    return Inside(
        stage=IntraStage(**stage),
        labelling=labelling,
        batches=batches,
        settings=settings,
        world=world,
        checkpoints=checkpoints,
    )


def train_inside(model: Embedder, images: Images, cameras: Cameras, first: Labels, inside: Inside) -> TrainingResult:
    """Train inside cameras as `inside.stage.sharing` says; arguments as in `train_shared`."""
    train_as = train_shared if inside.stage.sharing == "shared" else train_per_camera
    return train_as(model, images, cameras, first, inside)


def train_shared(model: Embedder, images: Images, cameras: Cameras, first: Labels, inside: Inside) -> TrainingResult:
    """Train one network for all cameras: each batch from one camera, scored against that camera's clusters.

    Our form of the intra-camera stage: the original [Li et al., ICIP 2023, arXiv:2304.12634] trains a network per
    camera (`train_per_camera`), whose backbones share nothing.

    Args:
        model: trained in place.
        images: packed RGB crops.
        cameras: of the images.
        first: the local labels of the first epoch, unique over cameras.
        inside: labels, batches, loss and loop.
    """
    settings = inside.settings
    label = LocalLabeller(first=first, cameras=cameras, labelling=inside.labelling, seed=settings.seed)
    phases = [Phase(label=label, local=True, **inside.batches)]
    history = train(
        model, images, cameras, phases=phases, settings=settings, world=inside.world, checkpoints=inside.checkpoints
    )
    best = int(np.argmax([curve["silhouette"] for curve in history.curves]))
    return training_result(model, history, kept=best if inside.stage.keep == "best_silhouette" else -1)


def train_per_camera(
    model: Embedder, images: Images, cameras: Cameras, first: Labels, inside: Inside
) -> TrainingResult:
    """Train one network per camera, each on a copy of `model`; arguments as in `train_shared`.

    A camera with fewer than two images, or without a local cluster, keeps the starting weights and the first labels.
    The images of one camera at a time are held in memory.
    """
    models, curves, epochs = [], [], []
    kept = np.full(len(images), -1, np.int64)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        network = copy.deepcopy(model)
        models.append(network)
        if first[rows].max() < 0:
            continue
        here = replace(inside, checkpoints=inside.checkpoints.part(f"camera_{camera}"))
        part = train_shared(network, images[rows], cameras[rows], number_clusters(first[rows]), here)
        kept[rows] = np.where(part.labels >= 0, part.labels + kept.max() + 1, -1)
        curves.append(part.curves.assign(camera=int(camera)))
        epochs.append(part.epochs.assign(row=rows[part.epochs["row"]].astype(np.int32)))
    return TrainingResult(models, number_clusters(kept), pd.concat(curves), pd.concat(epochs))
