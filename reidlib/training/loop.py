"""The training loop: embed, label, begin the loss's terms, then batches of forward, loss, backward, step, update."""

import signal
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import nn

from reidlib.features import embed
from reidlib.images.residence import Images, placed, residence
from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints, Interrupted, stop_requests
from reidlib.training.distributed import ALONE, World
from reidlib.training.precision import compiled
from reidlib.training.run import Run, begun
from reidlib.training.settings import History, Phase, Settings
from reidlib.training.step import batches_left, step
from reidlib.training.term import Start

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
    teacher: Float[np.ndarray, "n width"] | None = None,
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
        teacher: embeddings of the images by another network, for the terms that learn from it.

    Returns:
        The curves (epoch from 1, loss, learning rate, the labels' measures) and the labels of every epoch.

    Raises:
        ValueError: where the loss is not finite, or the embeddings have become one; and what labelling raises.
        Interrupted: after SIGTERM or SIGINT, the state being saved.
    """
    checkpoints = checkpoints or Checkpoints()
    model.to(world.device).to(memory_format=torch.channels_last)
    run = begun(model, phases, settings, world, checkpoints, teacher)
    network = _network(run, images)
    source = placed(
        images, residence(images, device=world.device, memory_gib=settings.device_memory_gib), device=world.device
    )
    gpus = [world.device] if world.device.type == "cuda" else []
    with torch.random.fork_rng(gpus), stop_requests() as stop, checkpoints:
        while run.epoch < settings.epochs:
            began = perf_counter()
            if run.labelled is None:
                _label(run, source, cameras)
            labelled, seen = perf_counter(), 0
            model.train()
            for batch in batches_left(run, source, cameras):
                seen += len(batch.rows)
                step(run, network, batch)
                run.iteration += 1
                _look_around(run, stop)
            curve = run.end_epoch()
            checkpoints.save(run.state())
            if world.first:
                ended, left = perf_counter(), settings.epochs - run.epoch
                speed, seconds = seen / (ended - labelled), left * (ended - began)
                print(_line(curve, of=settings.epochs, images_per_second=speed, seconds_left=seconds), flush=True)
    model.eval()
    return run.history


def _network(run: Run, images: UInt8[np.ndarray, "n h w 3"]) -> nn.Module:
    """Return what the training step calls: the model itself, compiled and replicated as wanted."""
    network: nn.Module = run.model
    if run.settings.compile:
        part = run.phases[0].clusters_per_batch * run.phases[0].images_per_cluster // run.world.size
        network = compiled(network.train(), images=part, size_px=run.model.size_of(images), device=run.world.device)
    return run.world.replicated(network)


def _label(run: Run, images: Images, cameras: Integer[np.ndarray, "n"]) -> None:
    """Begin an epoch: embeddings, shared among the ranks, labels, and the terms of the loss made ready for them."""
    part = embed(run.model, images, rows=run.world.share(len(images)), bf16=run.precision == "bf16")
    embeddings = run.world.joined(part, count=len(images))
    variance = 1 - float(np.square(embeddings.mean(axis=0, dtype=np.float64)).sum())
    if variance < SMALLEST_VARIANCE:
        raise ValueError(
            f"training collapsed: at the start of epoch {run.epoch + 1} all embeddings are nearly one (variance "
            f"{variance:.1e}); lower learning_rate or raise temperature"
        )
    threads = torch.get_num_threads()
    run.labelled = run.phase.label(run.epoch, embeddings, run.world, run.history.labels)
    torch.set_num_threads(threads)  # numba's first parallel kernel moves OpenMP's number, torch's with it
    torch.manual_seed(int(np.random.default_rng((run.settings.seed, run.epoch)).integers(2**62)))
    run.objective.begin(
        Start(
            epoch=run.epoch,
            embeddings=embeddings,
            labels=run.objective.classes(run.labelled.labels),
            cameras=cameras,
            local=run.phase.local,
            renewed=run.renewed(run.labelled.labels),
            device=run.world.device,
        )
    )
    run.losses.zero_()
    run.renew_groups()


def _look_around(run: Run, stop: Callable[[], signal.Signals | None]) -> None:
    """Now and then: read the losses, save the state, and leave where the run is asked to stop.

    Several processes ask each other only when the losses are read, since each question makes them wait.
    """
    look = run.iteration % run.settings.log_every == 0 or run.iteration == run.settings.iterations
    asked = (look or run.world.size == 1) and run.world.any_of(stop() is not None)
    due = run.checkpoints.due()
    if look or asked or due:
        _check_losses(run)
    if asked or due:
        run.checkpoints.save(run.state())
    if asked:
        run.checkpoints.wait()
        message = f"stopped in epoch {run.epoch + 1}; run again to go on from {run.checkpoints}"
        raise Interrupted(message, stop() or signal.SIGTERM)


def _check_losses(run: Run) -> None:
    """Read the losses so far from the device; stop where one is not finite."""
    losses = run.losses[: run.iteration].cpu()
    broken = torch.nonzero(~losses.isfinite()).flatten()
    if len(broken):
        raise ValueError(
            f"training diverged: the loss of epoch {run.epoch + 1}, iteration {int(broken[0]) + 1} is "
            f"{float(losses[broken[0]])} at learning rate {run.settings.rate(run.epoch):g}; the last checkpoint is "
            f"{run.checkpoints}. Lower learning_rate, raise temperature, or set clip_norm"
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
