"""One step of training: the views of a batch, their features, the loss of the whole batch, the update."""

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor, nn

from reidlib.images.augment import apply, draw
from reidlib.images.distortion import on_device
from reidlib.images.residence import Images, batches
from reidlib.images.sampling import pk_batches
from reidlib.models.camera_norm import conversions
from reidlib.models.embedder import Features
from reidlib.progress import progress
from reidlib.training.run import Run
from reidlib.training.term import Batch


class Drawn(NamedTuple):
    """A batch that was drawn, and where this rank's part of its images is."""

    rows: np.ndarray  # int64 (b,): which images of the table
    labels: np.ndarray  # int64 (b,): their clusters
    cameras: np.ndarray  # int64 (b,): of the images
    images: Images  # what holds this rank's part
    own_rows: np.ndarray  # where in it


def batches_left(run: Run, source: Images, cameras: Integer[np.ndarray, "n"]) -> Iterator[Drawn]:
    """Return the batches of the epoch that are still to come."""
    assert run.labelled is not None
    labels = run.objective.classes(run.labelled.labels)
    drawn = pk_batches(
        labels,
        cameras,
        identities_per_batch=run.phase.clusters_per_batch,
        images_per_identity=run.phase.images_per_cluster,
        batches=run.settings.iterations,
        generator=np.random.default_rng((run.settings.seed, run.epoch, 0)),
        sampling=run.phase.sampling,
    )
    left = list(islice(drawn, run.iteration, None))
    parts = (rows[run.world.equal_share(len(rows))] for rows in left)
    loaded = batches(source, parts, device=run.world.device)
    return (
        Drawn(rows, labels[rows].astype(np.int64), cameras[rows].astype(np.int64), images, own_rows)
        for rows, (images, own_rows) in zip(progress(left, "training"), loaded, strict=True)
    )


def step(run: Run, network: nn.Module, drawn: Drawn) -> None:
    """Take one batch, of which this rank embeds its part; nothing here waits for the device."""
    objective, generator = run.objective, np.random.default_rng((run.settings.seed, run.epoch, run.iteration + 1))
    torch.manual_seed(int(generator.integers(2**62)) + run.world.rank)
    views = [_view(run, network, drawn, number, generator) for number in range(objective.views)]
    batch = Batch(
        epoch=run.epoch,
        first=views[0],
        second=views[1] if len(views) > 1 else None,
        rows=drawn.rows,
        labels=drawn.labels,
        cameras=drawn.cameras,
        generator=generator,
    )
    loss = objective(batch)
    run.optimiser.zero_grad()
    torch.autograd.backward(loss)
    if run.settings.clip_norm is not None:
        trained = [parameter for group in run.optimiser.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, run.settings.clip_norm)
    run.optimiser.step()
    objective.update(replace(batch, first=Features(*(part.detach() for part in views[0]))))
    run.losses[run.iteration] = loss.detach()


def _view(run: Run, network: nn.Module, drawn: Drawn, number: int, generator: np.random.Generator) -> Features:
    """Return the features of one view of the whole batch: augmented, and from the second on in other cameras' style."""
    world, augmentation = run.world, run.settings.augmentation
    part, size = world.equal_share(len(drawn.rows)), run.model.size_of(drawn.images)
    draws = draw(generator, len(drawn.rows), height=size[0], width=size[1], settings=augmentation)
    images = apply(
        drawn.images,
        replace(draws, **{field.name: getattr(draws, field.name)[part] for field in fields(draws)}),
        settings=augmentation,
        rows=drawn.own_rows,
        size_px=size,
    ).to(world.device)
    styles: tuple[Tensor, ...] = ()
    if run.model.architecture.camera_norm_after is not None:
        known = run.model.architecture.cameras
        styles = (on_device(images, drawn.cameras[part]),)
        if number:
            styles += (on_device(images, conversions(drawn.cameras, known, generator)[part]),)
    with torch.autocast(world.device.type, torch.bfloat16, enabled=run.precision == "bf16"):
        features: Features = network(images, *styles)
    return world.gathered(features)
