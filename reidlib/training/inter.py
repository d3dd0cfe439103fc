"""Training across cameras: on labels of all cameras, or in rounds with epochs inside them; beside another dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int32, Integer, UInt8

from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.distributed import ALONE, World
from reidlib.training.labellers import Cameras, GlobalLabelling, beside_source, global_labeller, local_labeller
from reidlib.training.loop import train
from reidlib.training.settings import History, Labels, Phase, Settings, Trained


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Epochs inside cameras and then across them, again and again [Xuan & Zhang, TPAMI 2022].

    Attributes:
        intra_epochs: of a round, inside cameras.
        inter_epochs: of a round, across them.
        clustering: inside cameras; see `local_labeller`.
        phase: batches and loss inside cameras, as `Phase` takes them.
    """

    intra_epochs: int
    inter_epochs: int
    clustering: Mapping[str, Any]
    phase: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Across:
    """How to train across cameras; what its repr leaves out is data, or where it is done.

    Attributes:
        labelling: how labels are made in the epochs after the first.
        phase: batches and loss, as `Phase` takes them.
        settings: of the loop.
        rounds: the epochs inside cameras that take turns with those across them, if any.
        source: identities of the images of another dataset that follow the own ones, if any.
        teacher: embeddings of the images by another network, for the terms that learn from it.
        world: the processes that train together.
        checkpoints: where to go on from.
    """

    labelling: GlobalLabelling
    phase: Mapping[str, Any]
    settings: Settings
    rounds: Rounds | None = None
    source: Labels | None = field(default=None, repr=False)
    teacher: Float[np.ndarray, "n width"] | None = field(default=None, repr=False)
    world: World = field(default=ALONE, repr=False)
    checkpoints: Checkpoints | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise a ValueError for a source beside a teacher or rounds."""
        for what, key, found in (
            ("a teacher knows", "loss.teacher", "teacher" in self.phase["loss"]),
            ("rounds of training inside cameras know", "alternate", self.rounds is not None),
        ):
            if self.source is not None and found:
                raise ValueError(f"source: {what} no other dataset; set train_inter.{key}=null, or source=none")


def train_across(
    model: Embedder,
    images: UInt8[np.ndarray, "all h w 3"],
    cameras: Integer[np.ndarray, "all"],
    first: Int32[np.ndarray, "own"],
    local: Int32[np.ndarray, "own"],
    how: Across,
) -> Trained:
    """Train one network on images of all cameras.

    Args:
        model: trained in place.
        images: packed RGB crops, those of a source after the own ones.
        cameras: of all of them.
        first: refined labels of the own images.
        local: their labels inside cameras.
        how: labels, batches, loss and loop.
    """
    phases = _phases(cameras[: len(first)], first, local, how)
    history = train(
        model, images, cameras, phases=phases, settings=how.settings, world=how.world, checkpoints=how.checkpoints,
        teacher=how.teacher,
    )  # fmt: skip
    return History(history.curves, [labels[: len(first)] for labels in history.labels]).of(model)


def _phases(cameras: Cameras, first: Labels, local: Labels, how: Across) -> list[Phase]:
    rounds, seed, epochs, newest_local = how.rounds, how.settings.seed, how.settings.epochs, None
    if rounds is not None:
        length, last = rounds.intra_epochs + rounds.inter_epochs, rounds.intra_epochs - 1
        newest_local = lambda epoch: epoch // length * length + last  # noqa: E731
    label = global_labeller(
        first, local, cameras, labelling=how.labelling, seed=seed, epochs=epochs, newest_local=newest_local
    )
    if how.source is not None:
        label = beside_source(label, how.source)
    if rounds is None:
        return [Phase(label=label, local=False, **how.phase)]
    inside = local_labeller(local, cameras, clustering=rounds.clustering, seed=seed)
    return [
        Phase(label=inside, local=True, epochs=rounds.intra_epochs, **rounds.phase),
        Phase(label=label, local=False, epochs=rounds.inter_epochs, **how.phase),
    ]
