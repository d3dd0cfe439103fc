"""What the stages that train have in common: how they are started, stopped and gone on with."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from reidlib.artifacts import atomic_folder
from reidlib.features import Images, embed_together
from reidlib.images.variation import Augmentation
from reidlib.labels.tables import write_labels
from reidlib.models.embedder import Embedder, load_embedder, save_embedder
from reidlib.params import Params
from reidlib.params.training import Train
from reidlib.training.checkpoint import Checkpoints, Interrupted, fingerprint, locked
from reidlib.training.distributed import World, connected
from reidlib.training.inter import Across, Rounds
from reidlib.training.labellers import Cameras, GlobalLabelling
from reidlib.training.settings import Settings, Trained
from stages import run, write_table

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
    params: Params, scratch: Path, *, inputs: Sequence[Path], values: Any
) -> Iterator[tuple[World, Checkpoints]]:
    """Yield the processes that train together and the checkpoints of this very run: these inputs, values and code.

    The folder is locked for the time, and removed at the end of a run that finished. It lies in the repository that DVC
    works for (DVC_ROOT), also when an experiment runs in a copy of it.
    """
    with connected() as world:
        mark = world.on_first(lambda: fingerprint([*inputs, CODE], values))
        folder = Path(os.environ.get("DVC_ROOT", ".")) / scratch / mark
        with locked(folder) if world.first else nullcontext():
            yield world, Checkpoints(folder if world.first else None, minutes=params.compute.checkpoint_minutes)


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


def across(params: Params, how: Settings) -> Across:
    """Return how to train across cameras."""
    rounds, section = None, params.train_inter
    if section.alternate is not None:
        inside = params.train_intra.phase_values()
        rounds = Rounds(**section.alternate.values(), clustering=params.cluster.values(), phase=inside)
    labelling = GlobalLabelling(**params.global_labelling())
    return Across(labelling=labelling, phase=section.phase_values(), settings=how, rounds=rounds)


def save_training(
    trained: Trained, folder: Path, curves: Path, *, images: pd.Series, cameras: Cameras, crops: Images,
    name: str = "model",
) -> None:  # fmt: skip
    """Write network(s) as name.safetensors ({} being their number), the labels of the kept and of all epochs, curves.

    Args:
        trained: what is written.
        folder: for all but the curves.
        curves: a CSV.
        images: ids of the images.
        cameras: of them.
        crops: themselves.
        name: of the networks' files.
    """
    with atomic_folder(folder) as made:
        for number, network in enumerate(trained.models):
            save_embedder(network, made / f"{name.format(number)}.safetensors")
        embeddings = embed_together(trained.models, crops)
        write_labels(
            made / "labels.parquet", images=images, cameras=cameras, labels=trained.labels, embeddings=embeddings
        )
        trained.epochs.to_parquet(made / "epochs.parquet", index=False)
    write_table(curves, trained.curves)
