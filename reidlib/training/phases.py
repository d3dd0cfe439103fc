"""What labels an epoch: inside cameras, across them, in rounds of both, and beside another dataset's identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Integer

from reidlib.images.split import Split
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.icsr import GlobalLabeller
from reidlib.labels.identities import identity_labels
from reidlib.labels.links import training_constraints
from reidlib.labels.local import GIVEN_LABELS, LocalLabelling, local_labels, silhouette_of
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.labels.quality import label_counts
from reidlib.settings import Count, arguments
from reidlib.training.distributed import World
from reidlib.training.plan import Labeller, Labels, Phase, Settings, read_plan

Embeddings = Float32[np.ndarray, "n d"]
Cameras = Integer[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Epochs inside cameras and then across them, again and again [Xuan & Zhang, TPAMI 2022].

    Attributes:
        intra_epochs: of a round, inside cameras.
        inter_epochs: of a round, across them.
        labels: whether they are made at every epoch, or, as the published code does, once for each turn.
        renew: whether each turn begins with a new optimiser, BN neck and classifiers, as there.
    """

    intra_epochs: Count
    inter_epochs: Count
    labels: Literal["epoch", "turn"] = "epoch"
    renew: bool = False

    def newest_local(self, epoch: int) -> int:
        """Return the epoch inside cameras that came last before an epoch across them."""
        length = self.intra_epochs + self.inter_epochs
        return epoch // length * length + self.intra_epochs - 1

    def begin(self, epoch: int) -> int:
        """Return the first epoch of the round that an epoch belongs to."""
        return epoch - epoch % (self.intra_epochs + self.inter_epochs)


@dataclass(frozen=True, kw_only=True)
class LocalLabeller:
    """Labels inside cameras: those of `cluster` first, then clusters of each camera's embeddings.

    The measures hold the silhouette of the labels on the Jaccard distance of the embeddings they came from (for the
    first epoch: of the network's own embeddings at that time), by which the epoch to keep can be chosen without
    identities. All of it is done by the first process: searches inside cameras are small.

    Attributes:
        first: the labels of epoch 0, unique over cameras; of all epochs where the method is one of `GIVEN_LABELS`.
        cameras: of the images.
        labelling: how labels are made.
        seed: of the clusterings that draw.
    """

    first: Labels
    cameras: Cameras
    labelling: LocalLabelling
    seed: int

    def __call__(self, epoch: int, embeddings: Embeddings, world: World, earlier: Sequence[Labels]) -> PseudoLabels:
        """Return the labels of an epoch (from 0); `earlier` holds those of the epochs before."""
        return world.on_first(lambda: self._labels(epoch, embeddings, earlier))

    def _labels(self, epoch: int, embeddings: Embeddings, earlier: Sequence[Labels]) -> PseudoLabels:
        labels = PseudoLabels(self.first, label_counts(self.first))
        if epoch and self.labelling.method["name"] not in GIVEN_LABELS:
            seed = self.seed + epoch
            labels = local_labels(embeddings, self.cameras, labelling=self.labelling, seed=seed, previous=earlier[-1])
        if "silhouette" in labels.measures:
            return labels
        silhouette = silhouette_of(embeddings, self.cameras, labels.labels, labelling=self.labelling)
        return replace(labels, measures=labels.measures | {"silhouette": silhouette})


@dataclass(frozen=True, kw_only=True)
class SourceLabeller:
    """Labels of the own images followed by those of a source dataset, whose identities are known.

    Clusters and identities are then classes of one memory, as SpCL has it for domain adaptation [Ge et al., NeurIPS
    2020, arXiv:2006.02713]. Two deviations: batches are drawn from all classes alike, where SpCL's hold as many images
    of either dataset, and both share their batch normalisation.

    Attributes:
        own: labels the own images.
        identities: of the source's images, which follow them.
    """

    own: Labeller
    identities: Labels

    def __call__(self, epoch: int, embeddings: Embeddings, world: World, earlier: Sequence[Labels]) -> PseudoLabels:
        """Return the labels of an epoch (from 0); `earlier` holds those of the epochs before."""
        count = len(embeddings) - len(self.identities)
        own = self.own(epoch, embeddings[:count], world, [labels[:count] for labels in earlier])
        source = identity_labels(self.identities)
        source = np.where(source >= 0, source + own.labels.max() + 1, -1).astype(np.int32)
        return replace(own, labels=np.concatenate([own.labels, source]))


def read_across(
    params: Mapping[str, Any],
    first: Labels,
    local: Labels,
    split: Split,
    links: Path,
    source: Labels | None = None,
    colours: Embeddings | None = None,
) -> tuple[list[Phase], Settings, str]:
    """Return the phases of the stage `train_inter`, its settings, and what it starts from ("intra" or "initial").

    There is one phase, or there are two that take turns: rounds of epochs inside cameras, with all that `train_intra`
    says but its number of epochs, and across them.

    Args:
        params: name, seed, dataset.camera_labels, augment, cluster, compute, refine, train_intra and train_inter.
        first: refined labels of the own images.
        local: their labels inside cameras.
        split: the own images.
        links: a person's, see `reidlib.labels.links.training_constraints`.
        source: identities of the images of another dataset that follow them, if there are any.
        colours: descriptors of the own images' colours.

    Raises:
        ValueError: values that do not fit, or a source beside rounds or a teacher, which know no other dataset.
    """
    settings, batches, stage = read_plan(params, "train_inter")
    rounds = None
    if stage["alternate"] is not None:
        rounds = Rounds(**arguments(stage["alternate"], of=Rounds, where="train_inter.alternate"))
    labelling, cameras = global_labelling(params), split.cameras
    label: Labeller = GlobalLabeller(
        first=first,
        local=local,
        cameras=cameras,
        labelling=labelling,
        seed=settings.seed,
        epochs=settings.epochs,
        colours=colours,
        newest_local=None if rounds is None else rounds.newest_local,
        counted_as=int if rounds is None else rounds.begin,
        constraints=training_constraints(split, links, known=labelling.constraints, recipe=params["name"]),
    )
    if source is not None:
        for key, present in (("loss.teacher", batches["loss"].get("teacher")), ("alternate", rounds)):
            if present is not None:
                raise ValueError(f"source: train_inter.{key} knows no other dataset; set it to null, or source=none")
        label = SourceLabeller(own=label, identities=source)
    if rounds is None:
        return [Phase(label=label, local=False, **batches)], settings, stage["start_from"]
    inside = LocalLabelling(**arguments(params["cluster"], of=LocalLabelling, where="cluster"))
    local_label = LocalLabeller(first=local, cameras=cameras, labelling=inside, seed=settings.seed)
    own, local_batches, _ = read_plan(params, "train_intra")
    own = replace(own, epochs=settings.epochs, ema=settings.ema)
    turns: dict[str, Any] = {"keeps_labels": rounds.labels == "turn", "renews": rounds.renew}
    phases = [
        Phase(label=local_label, local=True, in_a_row=rounds.intra_epochs, settings=own, **turns, **local_batches),
        Phase(label=label, local=False, in_a_row=rounds.inter_epochs, **turns, **batches),
    ]
    return phases, settings, stage["start_from"]
