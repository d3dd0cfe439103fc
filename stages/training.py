"""What the stages that train have in common: how they are started, stopped and gone on with."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from reidlib.images.variation import Augmentation
from reidlib.models.embedder import Embedder, load_embedder
from reidlib.params import Params
from reidlib.params.training import Train
from reidlib.training.checkpoint import Checkpoints, Interrupted, fingerprint, locked
from reidlib.training.distributed import World, connected
from reidlib.training.labellers import (
    GlobalLabelling,
    LocalLabelling,
    beside_source,
    global_labeller,
    local_labeller,
)
from reidlib.training.settings import Labels, Phase, Settings
from stages import run

CODE = Path(__file__).parents[1] / "reidlib"


def run_training(main: Callable[..., None]) -> None:
    """Call a stage as `stages.run`, in as many processes as REID_NPROC or torchrun's own variables (PET_...) say.

    Asked to stop, it leaves a checkpoint and exits with 128 + the signal's number, which DVC takes for a failed stage.
    """
    processes = os.environ.get("REID_NPROC", "1")
    if "WORLD_SIZE" not in os.environ and (processes != "1" or "PET_NNODES" in os.environ):
        spec = sys.modules["__main__"].__spec__
        assert spec is not None
        alone = [] if "PET_NNODES" in os.environ else ["--standalone"]
        command = ["-m", "torch.distributed.run", *alone, f"--nproc-per-node={processes}", "-m", spec.name]
        os.execv(sys.executable, [sys.executable, *command, *sys.argv[1:]])
    try:
        run(main)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.signal)


@contextmanager
def training(
    scratch: Path, inputs: Sequence[Path], values: Any, *, minutes: float
) -> Iterator[tuple[World, Checkpoints]]:
    """Yield the processes that train together and the checkpoints of this very run: these inputs, values and code.

    The folder is locked for the time, and removed at the end of a run that finished. It lies in the repository that DVC
    works for (DVC_ROOT), also when an experiment runs in a copy of it.
    """
    with connected() as world:
        mark = world.on_first(lambda: fingerprint([*inputs, CODE], values))
        folder = Path(os.environ.get("DVC_ROOT", ".")) / scratch / mark
        with locked(folder) if world.first else nullcontext():
            yield world, Checkpoints(folder if world.first else None, minutes=minutes)


def settings(params: Params, section: Train) -> Settings:
    """Return what the training loop is told."""
    return Settings(
        **section.loop_values(),
        **params.compute.loop_values(),
        augmentation=Augmentation(**params.augment.values()),
        seed=params.seed,
    )


def starting_network(params: Params, features: Path, intra: Path) -> Embedder:
    """Return the network that training across cameras starts from."""
    start = {"intra": intra / "model_0.safetensors", "initial": features / "model.safetensors"}
    return load_embedder(start[params.train_inter.start_from])


def inter_phases(
    params: Params, cameras: Int16[np.ndarray, "n"], *, first: Labels, local: Labels, source: Labels | None
) -> list[Phase]:
    """Return the phases of training across cameras: one, or, in rounds, epochs inside cameras before it.

    Args:
        params: all.
        cameras: of the images.
        first: their refined labels.
        local: their labels inside cameras.
        source: identities of the images of another dataset that follow them, if any.
    """
    section, rounds = params.train_inter, params.train_inter.alternate
    labelling, seed = GlobalLabelling(**params.global_labelling()), params.seed
    if source is not None and section.loss.get("teacher") is not None:
        raise ValueError("source: a teacher knows no other dataset; set train_inter.loss.teacher=null, or source=none")
    if rounds is None:
        label = global_labeller(first, local, cameras, labelling=labelling, seed=seed, epochs=section.epochs)
        label = label if source is None else beside_source(label, source)
        return [Phase(label=label, local=False, **section.phase_values())]
    if source is not None:
        raise ValueError(
            "source: rounds of training inside cameras know no other dataset; set train_inter.alternate=null"
        )
    length = rounds.intra_epochs + rounds.inter_epochs
    label = global_labeller(
        first, local, cameras, labelling=labelling, seed=seed, epochs=section.epochs,
        newest_local=lambda epoch: epoch // length * length + rounds.intra_epochs - 1,
    )  # fmt: skip
    inside = local_labeller(local, cameras, labelling=LocalLabelling(**params.cluster.values(), keep="last"), seed=seed)
    intra = params.train_intra.phase_values()
    return [
        Phase(label=inside, local=True, epochs=rounds.intra_epochs, **intra),
        Phase(label=label, local=False, epochs=rounds.inter_epochs, **section.phase_values()),
    ]
