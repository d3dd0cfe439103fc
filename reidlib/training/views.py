"""A batch that was drawn, and its views: augmented, and from the second on in other cameras' style."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import torch

from reidlib.batches.augment import apply, draw
from reidlib.batches.residence import Images, on_device
from reidlib.models.camera_norm import batch_conversions, conversions
from reidlib.models.embedder import Features
from reidlib.training.state import State


class Drawn(NamedTuple):
    """A batch that was drawn, and where this process's part of its images is."""

    rows: np.ndarray  # int64 (b,): which images of the table
    labels: np.ndarray  # int64 (b,): their clusters
    cameras: np.ndarray  # int64 (b,): of the images
    images: Images  # what holds this process's part
    own_rows: np.ndarray  # where in it


def forward(
    state: State, network: Callable[..., Features], drawn: Drawn, view: int, generator: np.random.Generator
) -> Features:
    """Return the features of one view of the whole batch: augmented, and from the second on in other cameras' style."""
    world, architecture = state.world, state.model.architecture
    augmentation = replace(state.settings.augmentation, mean=architecture.mean, std=architecture.std)
    part, size = world.equal_share(len(drawn.rows)), state.model.size_of(drawn.images)
    draws = draw(generator, len(drawn.rows), height=size[0], width=size[1], settings=augmentation)
    images = apply(
        drawn.images,
        replace(draws, **{field.name: getattr(draws, field.name)[part] for field in fields(draws)}),
        settings=augmentation,
        rows=drawn.own_rows,
        size_px=size,
    ).to(world.device)
    styles = tuple(
        None if given is None else on_device(images, given[part]) for given in _styles(state, drawn, view, generator)
    )
    with torch.autocast(world.device.type, torch.bfloat16, enabled=state.precision == "bf16"):
        features = network(images, *styles)
    return world.gather(features)


def _styles(state: State, drawn: Drawn, view: int, generator: np.random.Generator) -> tuple[np.ndarray | None, ...]:
    """Return the cameras of a batch, and those that a view is converted to, as the network's camera norms take them."""
    architecture, cameras = state.model.architecture, drawn.cameras
    if not architecture.camera_norms:
        return ()
    if architecture.camera_norm_by == "image":
        return (cameras, conversions(cameras, architecture.cameras, generator)) if view else (cameras,)
    source = cameras if state.phase.local else None  # across cameras nothing is learnt of one
    target = batch_conversions(source, len(cameras), architecture.cameras, generator) if view else None
    return source, target
