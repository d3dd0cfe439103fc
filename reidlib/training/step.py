"""One step of training: the views of a batch, their features, the loss of the whole batch, the update."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, Integer
from torch import Tensor, nn

from reidlib.images.augment import Draws, apply, draw
from reidlib.images.distortion import on_device
from reidlib.images.residence import Images, batches
from reidlib.images.sampling import SAMPLINGS
from reidlib.models.camera_norm import conversions
from reidlib.models.embedder import Features
from reidlib.progress import progress
from reidlib.training.distributed import World
from reidlib.training.run import Run
from reidlib.training.settings import Settings
from reidlib.training.term import Batch


class Drawn(NamedTuple):
    """A batch that was drawn, and where this rank's part of its images is."""

    rows: np.ndarray  # int64 (b,): which images of the table
    labels: np.ndarray  # int64 (b,): their clusters
    images: Images  # what holds this rank's part
    own_rows: np.ndarray  # where in it


def batches_left(
    run: Run, source: Images, cameras: Integer[np.ndarray, "n"], settings: Settings, world: World
) -> Iterator[Drawn]:
    """Return the batches of the epoch that are still to come."""
    assert run.labelled is not None
    labels = run.objective.classes(run.labelled.labels)
    drawn = SAMPLINGS[run.phase.sampling](
        labels,
        cameras,
        identities_per_batch=run.phase.clusters_per_batch,
        images_per_identity=run.phase.images_per_cluster,
        batches=settings.iterations,
        generator=np.random.default_rng((settings.seed, run.epoch, 0)),
    )
    left = list(islice(drawn, run.iteration, None))
    parts = (rows[world.equal_share(len(rows))] for rows in left)
    loaded = batches(source, parts, device=world.device)
    return (
        Drawn(rows, labels[rows].astype(np.int64), images, own_rows)
        for rows, (images, own_rows) in zip(progress(left, "training"), loaded, strict=True)
    )


def step(
    run: Run,
    network: nn.Module,
    drawn: Drawn,
    cameras: Integer[np.ndarray, "n"],
    *,
    settings: Settings,
    world: World,
) -> None:
    """Take one batch, of which this rank embeds its part; nothing here waits for the device."""
    objective, generator = run.objective, np.random.default_rng((settings.seed, run.epoch, run.iteration + 1))
    torch.manual_seed(int(generator.integers(2**62)) + world.rank)
    own = cameras[drawn.rows].astype(np.int64)
    views = [
        _view(run, network, drawn, own, number, generator=generator, settings=settings, world=world)
        for number in range(objective.views)
    ]
    batch = Batch(
        epoch=run.epoch,
        first=views[0],
        second=views[1] if len(views) > 1 else None,
        rows=drawn.rows,
        labels=drawn.labels,
        cameras=own,
        generator=generator,
    )
    loss = objective(batch)
    run.optimiser.zero_grad()
    torch.autograd.backward(loss)
    if settings.clip_norm is not None:
        trained = [parameter for group in run.optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, settings.clip_norm)
    run.optimiser.step()
    objective.update(replace(batch, first=_detached(views[0])))
    run.losses[run.iteration] = loss.detach()


def _view(
    run: Run,
    network: nn.Module,
    drawn: Drawn,
    cameras: Int64[np.ndarray, "b"],
    number: int,
    *,
    generator: np.random.Generator,
    settings: Settings,
    world: World,
) -> Features:
    """Return the features of one view of the whole batch: augmented, and from the second on in other cameras' style."""
    part, size = world.equal_share(len(drawn.rows)), run.model.size_of(drawn.images)
    draws = draw(generator, len(cameras), height=size[0], width=size[1], settings=settings.augmentation)
    images = apply(
        drawn.images,
        _part(draws, part),
        settings=settings.augmentation,
        rows=drawn.own_rows,
        size_px=size,
        channels_last=True,
    ).to(world.device)
    styles: tuple[Tensor, ...] = ()
    if run.model.architecture.camera_norm_after is not None:
        known = run.model.architecture.cameras
        styles = (on_device(images, cameras[part]),)
        if number:
            styles += (on_device(images, conversions(cameras, known, generator)[part]),)
    with torch.autocast(world.device.type, torch.bfloat16) if run.precision == "bf16" else nullcontext():
        features: Features = network(images, *styles)
    return world.gathered(features)


def _detached(features: Features) -> Features:
    return Features(features.pooled.detach(), features.necked.detach())


def _part(draws: Draws, part: slice) -> Draws:
    """Return the draws of a part of the batch."""
    return replace(draws, **{field.name: getattr(draws, field.name)[part] for field in fields(draws)})
