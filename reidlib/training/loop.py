"""The training loop: embed, label, begin the losses; then batches of forward, loss, backward, step, update."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from reidlib.batches.residence import Images, batches, place, residence
from reidlib.batches.sampling import batches_of_a_pass, pk_batches
from reidlib.embed import embed
from reidlib.losses.term import Batch, EpochStart
from reidlib.models.embedder import Embedder, Features
from reidlib.models.grouped_norm import regroup
from reidlib.neighbours.blocks import end_threads
from reidlib.progress import progress
from reidlib.training.checkpoint import Checkpoints, Interrupted, stop_requests
from reidlib.training.distributed import ALONE, World
from reidlib.training.history import History
from reidlib.training.plan import Phase, Settings
from reidlib.training.recorded import Recorded
from reidlib.training.state import State
from reidlib.training.views import Drawn, forward

SMALLEST_VARIANCE = 1e-6


def train(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    cameras: Integer[np.ndarray, "n"],
    *,
    phases: Sequence[Phase],
    settings: Settings,
    world: World = ALONE,
    checkpoints: Checkpoints | None = None,
    teacher: Float[np.ndarray, "own width"] | None = None,
) -> History:
    """Train a model in place on labels that are made anew each epoch from its own embeddings.

    All randomness is a function of the seed, the epoch and the iteration, so that a resumed run draws what an
    uninterrupted one would have drawn. Several processes (`world`) share each batch and agree with one process but for
    rounding: each embeds its part, and computes the loss of the whole. Layers that draw for themselves (drop path) draw
    for each process apart.

    Args:
        model: trained in place, moved to the device.
        images: packed RGB crops.
        cameras: of the images; used by the sampling.
        phases: how images are labelled and drawn, and the loss; several take turns, each for its number of epochs.
        settings: epochs, optimiser, augmentation and seed.
        world: the processes that train together.
        checkpoints: where to go on from, and where to leave the state at every epoch's end and now and then.
        teacher: embeddings of the images by another network, for the losses that learn from it.

    Returns:
        The curves (epoch from 1, loss, learning rate, the labels' measures) and the labels of every epoch.

    Raises:
        ValueError: where the loss is not finite, or the embeddings have become one; and what labelling raises.
        Interrupted: after SIGTERM or SIGINT, the state being saved.
    """
    checkpoints = checkpoints or Checkpoints()
    device, compute = world.device, settings.compute
    model.to(device).to(memory_format=torch.channels_last)
    state = State(model, phases, settings, world, teacher)
    state.resume(checkpoints, size_px=model.size_of(images))
    network = Recorded(world.replicate(model))
    source = place(images, residence(images, device=device, memory_gib=compute.device_memory_gib), device=device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), stop_requests() as stop, checkpoints:
        while state.epoch < settings.epochs:
            start = perf_counter()
            if state.labels is None:
                begin_epoch(state, source, cameras)
            regroup(model, group=state.settings.batch_norm_group or model.architecture.batch_norm_group)
            seen, labelled = 0, perf_counter()
            model.train()
            state.freeze()
            network.begin_epoch(state, resident=isinstance(source, torch.Tensor))
            for drawn in draw_batches(state, source, cameras):
                step(state, network, drawn)
                state.iteration += 1
                seen += len(drawn.rows)
                _look_around(state, checkpoints, stop)
            curve = state.end_epoch()
            checkpoints.save(state.content())
            if world.first:
                left = (settings.epochs - state.epoch) * (perf_counter() - start)
                speed = seen / (perf_counter() - labelled)
                print(_line(curve, of=settings.epochs, images_per_second=speed, seconds_left=left), flush=True)
    network.forget()
    if state.average:
        model.load_state_dict(state.average)
    model.eval()
    return state.history


def begin_epoch(state: State, images: Images, cameras: Integer[np.ndarray, "n"]) -> None:
    """Label all images and make the losses ready for the labels, or keep both; count the epoch's batches."""
    if not state.keep_labels():
        label_images(state, images, cameras)
    assert state.labels is not None
    labels, count = state.loss.classes(state.labels.labels), state.settings.iterations
    if count == "pass":
        count = batches_of_a_pass(labels, cameras, **state.phase.batch)
    state.values = torch.zeros(count, device=state.world.device)
    state.begin_turn()
    state.update_optimiser()


def label_images(state: State, images: Images, cameras: Integer[np.ndarray, "n"]) -> None:
    """Embed all images, each process its share; label them; make the losses ready for the labels."""
    world, settings = state.world, state.settings
    how: dict[str, Any] = {"bf16": state.precision == "bf16", "flip": settings.label_flip}
    how |= {"cameras": cameras} if settings.label_styles else {}
    part = embed(state.model, images, rows=world.share(len(images)), **how)
    embeddings = world.join(part, count=len(images))
    variance = 1 - float(np.square(embeddings.mean(axis=0, dtype=np.float64)).sum())
    if variance < SMALLEST_VARIANCE:
        when, mend = "before the first step", "are the images all alike? Else check the weights to start from"
        if state.epoch:
            when = f"training collapsed: at the start of epoch {state.epoch + 1}"
            mend = "lower learning_rate or raise temperature"
        raise ValueError(f"{when} all embeddings are nearly one (variance {variance:.1e}); {mend}")
    state.labels = state.phase.label(state.epoch, embeddings, world, state.history.labels)
    state.warn()
    end_threads()
    torch.manual_seed(int(np.random.default_rng((settings.seed, state.epoch)).integers(2**62)))
    state.loss.begin(
        EpochStart(
            epoch=state.epoch,
            embeddings=embeddings,
            labels=state.loss.classes(state.labels.labels),
            cameras=cameras,
            local=state.phase.local,
            renewed=state.are_new(state.labels.labels),
            device=world.device,
        )
    )


def draw_batches(state: State, source: Images, cameras: Integer[np.ndarray, "n"]) -> Iterator[Drawn]:
    """Return the batches of the epoch that are still to come."""
    assert state.labels is not None
    labels, phase, world = state.loss.classes(state.labels.labels), state.phase, state.world
    generator = np.random.default_rng((state.settings.seed, state.epoch, 0))
    drawn = pk_batches(labels, cameras, batches=state.iterations, generator=generator, **phase.drawing)
    to_come = list(islice(drawn, state.iteration, None))
    for rows in to_come[:1]:
        _check_groups(state, len(rows))
    parts = (rows[world.equal_share(len(rows))] for rows in to_come)
    loaded = batches(source, parts, device=world.device)
    return (
        Drawn(rows, labels[rows].astype(np.int64), cameras[rows].astype(np.int64), images, own_rows)
        for rows, (images, own_rows) in zip(progress(to_come, "training"), loaded, strict=True)
    )


def step(state: State, network: Callable[..., Features], drawn: Drawn) -> None:
    """Take one batch, of which this process embeds its part; nothing here waits for the device."""
    generator = np.random.default_rng((state.settings.seed, state.epoch, state.iteration + 1))
    torch.manual_seed(int(generator.integers(2**62)) + state.world.rank)
    views = [forward(state, network, drawn, number, generator) for number in range(state.loss.views)]
    batch = Batch(
        epoch=state.epoch,
        first=views[0],
        second=views[1] if len(views) > 1 else None,
        rows=drawn.rows,
        labels=drawn.labels,
        cameras=drawn.cameras,
        generator=generator,
    )
    loss = state.loss(batch)
    state.descend(loss, [view.necked for view in views])
    first = views[0]._replace(pooled=views[0].pooled.detach(), necked=views[0].necked.detach())
    state.loss.update(replace(batch, first=first))
    state.values[state.iteration] = loss.detach()


def _check_groups(state: State, images: int) -> None:
    """Refuse groups of a phase's own that processes would have to cut: they stand for the images of one camera."""
    group, size = state.settings.batch_norm_group, state.world.size
    if group is not None and size > 1 and (images // size) % group:
        raise ValueError(
            f"batch_norm_group: {images} images on {size} processes are not whole groups of {group} on each; choose a "
            "number of processes (REID_NPROC) that divides the number of groups"
        )


def _look_around(state: State, checkpoints: Checkpoints, stop: Callable[[], signal.Signals | None]) -> None:
    """Now and then: read the losses, save the state, and leave where the run is asked to stop.

    Several processes ask each other only when the losses are read, since each question makes them wait. The state is
    saved and left between steps of the optimiser only, not between the batches of one.
    """
    if not state.settings.ends_step(state.iteration - 1, of=state.iterations):
        return
    look = state.iteration % state.settings.compute.log_every == 0 or state.iteration == state.iterations
    asked = (look or state.world.size == 1) and state.world.any_of(stop() is not None)
    due = checkpoints.due()
    if look or asked or due:
        _check_losses(state, checkpoints)
    if asked or due:
        checkpoints.save(state.content())
    if asked:
        checkpoints.wait()
        message = f"stopped in epoch {state.epoch + 1}; run again to go on from {checkpoints}"
        raise Interrupted(message, stop() or signal.SIGTERM)


def _check_losses(state: State, checkpoints: Checkpoints) -> None:
    """Read the losses so far from the device; stop where one is not finite."""
    values = state.values[: state.iteration].cpu()
    broken = torch.nonzero(~values.isfinite()).flatten()
    if len(broken):
        raise ValueError(
            f"training diverged: the loss of epoch {state.epoch + 1}, iteration {int(broken[0]) + 1} is "
            f"{float(values[broken[0]])} at learning rate {state.settings.rate(state.epoch):g}; the last checkpoint is "
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
