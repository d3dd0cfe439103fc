"""The training loop: embed, label, reset the memory, then batches of forward, loss, backward, step, memory update."""

import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from itertools import islice
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Int64, Integer, UInt8
from torch import nn

from reidlib.features import embed
from reidlib.images.augment import Draws, apply, draw
from reidlib.images.distortion import on_device
from reidlib.images.residence import Images, batches, placed, residence
from reidlib.images.sampling import camera_pk_batches, pk_batches
from reidlib.models.embedder import Embedder
from reidlib.progress import progress
from reidlib.training.checkpoint import Checkpoints, Interrupted, stop_requests
from reidlib.training.distributed import ALONE, World
from reidlib.training.losses import memory_loss
from reidlib.training.memories import ClusterMemory
from reidlib.training.precision import compiled
from reidlib.training.run import Run, begun
from reidlib.training.settings import History, Labeller, Settings

SMALLEST_VARIANCE = 1e-6
Batch = tuple[Int64[np.ndarray, "b"], tuple[Images, Integer[np.ndarray, "part"]]]


def train(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    cameras: Integer[np.ndarray, "n"],
    *,
    label: Labeller,
    settings: Settings,
    world: World = ALONE,
    checkpoints: Checkpoints | None = None,
) -> History:
    """Train a model in place on labels that are made anew each epoch from its own embeddings.

    All randomness is a function of the seed, the epoch and the iteration, so that a resumed run draws what an
    uninterrupted one would have drawn. Several processes (`world`) share each batch and agree with one process but for
    rounding; layers that draw for themselves (drop path) draw for each process apart.

    Args:
        model: trained in place, moved to the device.
        images: packed RGB crops.
        cameras: of the images; used by the sampling.
        label: called with the epoch (from 0), the unit-norm embeddings of all images and the world.
        settings: epochs, batches, optimiser, memory, augmentation and seed.
        world: the processes that train together.
        checkpoints: where to go on from, and where to leave the state at every epoch's end and now and then.

    Returns:
        The curves (epoch from 1, loss, learning rate, the labels' measures) and the labels of every epoch.

    Raises:
        ValueError: where the loss is not finite, or the embeddings have become one; and what `label` raises.
        Interrupted: after SIGTERM or SIGINT, the state being saved.
    """
    checkpoints = checkpoints or Checkpoints()
    model.to(world.device).to(memory_format=torch.channels_last)
    run = begun(model, settings, world, checkpoints)
    network = _network(model, images, settings, world)
    source = placed(
        images, residence(images, device=world.device, memory_gib=settings.device_memory_gib), device=world.device
    )
    gpus = [world.device] if world.device.type == "cuda" else []
    with torch.random.fork_rng(gpus), stop_requests() as stop, checkpoints:
        while run.epoch < settings.epochs:
            began, before = perf_counter(), run.iteration
            if run.memory is None:
                _label(run, source, cameras, label=label, settings=settings, world=world)
            labelled = perf_counter()
            model.train()
            for batch in _rest_of_epoch(run, source, cameras, settings, world):
                _step(run, network, batch, cameras, settings=settings, world=world)
                run.iteration += 1
                _look_around(run, stop, settings, world, checkpoints)
            curve = run.end_epoch(settings, world)
            checkpoints.save(run.state())
            if world.first:
                ended, taken = perf_counter(), settings.iterations - before
                speed, left = taken * settings.batch_size / (ended - labelled), settings.epochs - run.epoch
                line = _line(curve, of=settings.epochs, images_per_second=speed, seconds_left=left * (ended - began))
                print(line, flush=True)
    model.eval()
    return run.history


def _network(model: Embedder, images: UInt8[np.ndarray, "n h w 3"], settings: Settings, world: World) -> nn.Module:
    """Return what the training step calls: the model itself, compiled and replicated as wanted."""
    network: nn.Module = model
    if settings.compile:
        part, size = settings.batch_size // world.size, model.size_of(images)
        network = compiled(model.train(), images=part, size_px=size, device=world.device)
    return world.replicated(network)


def _label(
    run: Run,
    images: Images,
    cameras: Integer[np.ndarray, "n"],
    *,
    label: Labeller,
    settings: Settings,
    world: World,
) -> None:
    """Begin an epoch: embeddings, shared among the ranks, labels, and a memory of their clusters."""
    part = embed(run.model, images, rows=world.share(len(images)), bf16=run.precision == "bf16")
    embeddings = world.joined(part, count=len(images))
    variance = 1 - float(np.square(embeddings.mean(axis=0, dtype=np.float64)).sum())
    if variance < SMALLEST_VARIANCE:
        raise ValueError(
            f"training collapsed: at the start of epoch {run.epoch + 1} all embeddings are nearly one (variance "
            f"{variance:.1e}); lower learning_rate or raise temperature"
        )
    run.labelled = label(run.epoch, embeddings, world)
    known = cameras if settings.within_cameras else None
    memory = ClusterMemory.from_embeddings(embeddings, run.labelled.labels, momentum=settings.momentum, cameras=known)
    run.memory = memory.to(world.device)
    run.losses.zero_()
    for group in run.optimiser.param_groups:
        group["lr"] = settings.rate(run.epoch)


def _rest_of_epoch(
    run: Run, source: Images, cameras: Integer[np.ndarray, "n"], settings: Settings, world: World
) -> Iterator[Batch]:
    """Return the batches of the epoch that are still to come: their rows, and the images of this rank's part."""
    assert run.labelled is not None
    drawn = (camera_pk_batches if settings.within_cameras else pk_batches)(
        run.labelled.labels,
        cameras,
        identities_per_batch=settings.clusters_per_batch,
        images_per_identity=settings.images_per_cluster,
        batches=settings.iterations,
        generator=np.random.default_rng((settings.seed, run.epoch, 0)),
    )
    left = list(islice(drawn, run.iteration, None))
    parts = (rows[world.equal_share(len(rows))] for rows in left)
    return zip(progress(left, "training"), batches(source, parts, device=world.device), strict=True)


def _step(
    run: Run,
    network: nn.Module,
    batch: Batch,
    cameras: Integer[np.ndarray, "n"],
    *,
    settings: Settings,
    world: World,
) -> None:
    """Take one batch, of which this rank computes its part; nothing here waits for the device."""
    assert run.memory is not None and run.labelled is not None
    (rows, (images, own_rows)), where = batch, world.device
    part, generator = world.equal_share(len(rows)), np.random.default_rng((settings.seed, run.epoch, run.iteration + 1))
    torch.manual_seed(int(generator.integers(2**62)) + world.rank)
    height, width = size = run.model.size_of(images)
    draws = _part(draw(generator, len(rows), height=height, width=width, settings=settings.augmentation), part)
    views = apply(images, draws, settings=settings.augmentation, rows=own_rows, size_px=size, channels_last=True)
    labels = run.labelled.labels[rows].astype(np.int64)
    own = on_device(run.losses, cameras[rows[part]].astype(np.int64)) if settings.within_cameras else None
    with torch.autocast(where.type, torch.bfloat16) if run.precision == "bf16" else nullcontext():
        features = network(views.to(where))
    loss = memory_loss(
        run.memory.scores(features, own), on_device(run.losses, labels[part]), temperature=settings.temperature
    )
    run.optimiser.zero_grad()
    torch.autograd.backward(loss)
    if settings.clip_norm is not None:
        nn.utils.clip_grad_norm_(run.model.parameters(), settings.clip_norm)
    run.optimiser.step()
    run.memory.update(world.joined_batch(features), torch.from_numpy(labels))
    run.losses[run.iteration] = loss.detach()


def _part(draws: Draws, part: slice) -> Draws:
    """Return the draws of a part of the batch."""
    return replace(draws, **{field.name: getattr(draws, field.name)[part] for field in fields(draws)})


def _look_around(
    run: Run,
    stop: Callable[[], signal.Signals | None],
    settings: Settings,
    world: World,
    checkpoints: Checkpoints,
) -> None:
    """Now and then: read the losses, save the state, and leave where the run is asked to stop.

    Several processes ask each other only when the losses are read, since each question makes them wait.
    """
    look = run.iteration % settings.log_every == 0 or run.iteration == settings.iterations
    asked = (look or world.size == 1) and world.any_of(stop() is not None)
    due = checkpoints.due()
    if look or asked or due:
        _check_losses(run, settings, checkpoints)
    if asked or due:
        checkpoints.save(run.state())
    if asked:
        checkpoints.wait()
        message = f"stopped in epoch {run.epoch + 1}; run again to go on from {checkpoints}"
        raise Interrupted(message, stop() or signal.SIGTERM)


def _check_losses(run: Run, settings: Settings, checkpoints: Checkpoints) -> None:
    """Read the losses so far from the device; stop where one is not finite."""
    losses = run.losses[: run.iteration].cpu()
    broken = torch.nonzero(~losses.isfinite()).flatten()
    if len(broken):
        raise ValueError(
            f"training diverged: the loss of epoch {run.epoch + 1}, iteration {int(broken[0]) + 1} is "
            f"{float(losses[broken[0]])} at learning rate {settings.rate(run.epoch):g}; the last checkpoint is "
            f"{checkpoints}. Lower learning_rate, raise temperature, or set clip_norm"
        )


def _line(curve: dict[str, float], *, of: int, images_per_second: float, seconds_left: float) -> str:
    """Return the one line that a person reads after each epoch."""
    measures = " ".join(
        f"{name} {value:.4g}" for name, value in curve.items() if name not in ("epoch", "learning_rate")
    )
    return (
        f"epoch {curve['epoch']:>3.0f}/{of}  {measures}  {images_per_second:,.0f} images/s  "
        f"{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left"
    )
