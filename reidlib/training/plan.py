"""What the training loop is told: its schedule, and for each phase how images are labelled and drawn, and the loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float32, Int32
from pydantic import Field

from reidlib.batches.sampling import Sampling
from reidlib.batches.variation import Augmentation
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.settings import Count, Epochs, NotNegative, Positive, Seed, Share, arguments, arguments_of_each

Precision = Literal["auto", "fp32", "bf16"]
Labels = Int32[np.ndarray, "n"]
GIVEN = (
    *("augmentation", "compute", "seed", "from_random"),  # of Settings
    *("label", "local", "in_a_row", "settings", "keeps_labels", "renews"),  # of Phase
)
"""What does not come from the sections `train_intra` and `train_inter`."""
RESNET50_PARAMETERS = 23_508_032  # without its classifier
RESNET50_RATE = 0.00035
UNLEARNT = 3.0
"""Of the rate by size of a network that has learnt before, that of one which has not: people 25.5 mAP for 16.6."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How training is computed; changes its results by rounding at most.

    Attributes:
        precision: of the network's forward and backward pass; "auto" takes the one that is faster here.
        log_every: iterations between two looks at the losses, at each of which the device is waited for.
        device_memory_gib: how much of a GPU's memory the images may take.
        record: whether a GPU records the network's passes and plays them back (`reidlib.training.recorded`).
        checkpoint_minutes: between two checkpoints inside an epoch.
    """

    precision: Precision = "auto"
    log_every: Count = 50
    device_memory_gib: NotNegative = 16.0
    record: bool = True
    checkpoint_minutes: Positive = 10.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train, whatever the labels and the loss.

    Attributes:
        epochs: times that labels are made anew.
        iterations: batches per epoch; "pass": as many as go once over the images that have a cluster
            (`reidlib.batches.sampling.batches_of_a_pass`).
        optimiser: adam (weight decay as L2, as the published codes), adamw, sgd with momentum .9, or nesterov (the same
            with Nesterov's momentum).
        learning_rate: at its highest; "by_size" for what suits the network's size (`of_size`).
        backbone_rate: factor on it for the backbone.
        weight_decay: of the optimiser.
        warm_up: epochs over which the rate rises to it in a line [Luo et al., CVPRW 2019, arXiv:1903.07071].
        warm_up_from: the share of it that the rate rises from.
        decay_at: epochs (from 0) from each of which on the rate is multiplied by `decay_factor`.
        decay_factor: 0..1.
        cosine: whether the rate falls after the warm-up along half a cosine [Loshchilov & Hutter, ICLR 2017,
            arXiv:1608.03983], towards the epoch after the last.
        cosine_from: the epoch from which on it does, if that is later than the warm-up's end.
        cosine_to: the share of it that it falls to.
        frozen: parts of the network, by the paths of their modules, that are not trained in so many first epochs, or
            never; their batch norms then work as in evaluation.
        accumulate: batches of which a step takes the mean gradient; memories follow every batch. The last step of an
            epoch may have fewer.
        decay_norms: whether the weight decay also concerns what is a vector: biases and the scales of norms.
        ema: share of itself that a running mean of all weights and buffers keeps at a step (at first less, see
            `reidlib.training.optimiser.advance_mean`); it is what training leaves. None for the weights themselves,
            which labels and losses are of either way.
        clip_norm: largest norm of the gradient; None for any.
        label_flip: whether labels are made from embeddings averaged with the mirror images'.
        label_styles: whether they are made from embeddings summed over all cameras' styles, of a network with a camera
            norm; see `reidlib.embed.embed`.
        batch_norm_group: samples that share batch-norm statistics in training; None for what the network says
            (`model.batch_norm_group`).
        augmentation: of the training crops.
        compute: precision and the like.
        seed: of sampling and augmentation.
        from_random: whether the network starts from weights that were drawn, not learnt.
    """

    epochs: Epochs
    iterations: Count | Literal["pass"]
    optimiser: Literal["adam", "adamw", "sgd", "nesterov"]
    learning_rate: Positive | Literal["by_size"]
    backbone_rate: NotNegative
    weight_decay: NotNegative
    warm_up: Epochs
    warm_up_from: Share
    decay_at: Sequence[Epochs]
    decay_factor: Share
    cosine: bool
    clip_norm: Positive | None
    label_flip: bool
    augmentation: Augmentation
    compute: Compute
    seed: Seed
    label_styles: bool = False
    batch_norm_group: Annotated[int, Field(ge=2)] | None = None
    cosine_from: Epochs = 0
    cosine_to: Share = 0.0
    frozen: Mapping[str, Epochs | Literal["always"]] | None = None
    accumulate: Count = 1
    decay_norms: bool = True
    ema: Share | None = None
    from_random: bool = False

    def of_size(self, parameters: int) -> "Settings":
        """Return the settings with a rate for a backbone of so many parameters, where it is "by_size".

        That is the published codes' .00035 for a ResNet-50, times √(its parameters / the backbone's): the right length
        of Adam's steps falls with a network's width [Yang et al., NeurIPS 2021, arXiv:2203.03466], and parameters grow
        with its square. Thrice as much from random weights, which have further to go.
        """
        if self.learning_rate != "by_size":
            return self
        factor = UNLEARNT if self.from_random else 1.0
        return replace(self, learning_rate=factor * RESNET50_RATE * math.sqrt(RESNET50_PARAMETERS / parameters))

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 0)."""
        assert self.learning_rate != "by_size"
        share = self.decay_factor ** sum(epoch >= first for first in self.decay_at)
        if epoch < self.warm_up:
            share *= self.warm_up_from + (1 - self.warm_up_from) * epoch / self.warm_up
        elif self.cosine and epoch >= self.cosine_from:
            start = max(self.warm_up, self.cosine_from)
            fallen = (1 + math.cos(math.pi * (epoch - start) / max(self.epochs - start, 1))) / 2
            share *= self.cosine_to + (1 - self.cosine_to) * fallen
        return float(self.learning_rate * share)

    def frozen_in(self, epoch: int) -> list[str]:
        """Return the parts of the network that are not trained in an epoch (from 0)."""
        return [path for path, epochs in (self.frozen or {}).items() if epochs == "always" or epoch < epochs]

    def ends_step(self, iteration: int, *, of: int) -> bool:
        """Return whether the optimiser takes its step after a batch (from 0) of an epoch of so many."""
        return (iteration + 1) % self.accumulate == 0 or iteration + 1 == of


@dataclass(frozen=True, kw_only=True)
class IntraStage:
    """What the section `train_intra` holds beside schedule and phase.

    Attributes:
        sharing: one network for all cameras ("shared"), or one each ("per_camera").
        keep: the epoch whose labels are kept: the one of the best silhouette, or the last.
    """

    sharing: Literal["shared", "per_camera"]
    keep: Literal["best_silhouette", "last"]


@dataclass(frozen=True, kw_only=True)
class InterStage:
    """What the section `train_inter` holds beside schedule and phase.

    Attributes:
        start_from: the network and embeddings of `train_intra`, or those of `extract`.
        alternate: `reidlib.training.phases.Rounds`; None for none.
        teacher: the file of the embeddings that the term `teacher` learns from, in the dataset's folder.
    """

    start_from: Literal["intra", "initial"]
    alternate: Mapping[str, Any] | None
    teacher: str


Labeller = Callable[[int, Float32[np.ndarray, "n d"], Any, Sequence[Labels]], PseudoLabels]
"""Called on every process with the epoch (from 0), the unit-norm embeddings of all images, the `World` and the labels
of all epochs before."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs of one kind: how their images are labelled and drawn, and what loss they train.

    Attributes:
        label: makes the labels.
        loss: terms by name, with their settings; see `reidlib.losses.total`. A term of None is left out.
        sampling: how batches are drawn; see `reidlib.batches.sampling`.
        clusters_per_batch: P of the P x K sampling.
        images_per_cluster: K of it.
        repeat_images: whether smaller clusters repeat their images; otherwise more clusters fill the batch.
        local: whether every cluster lies on one camera.
        in_a_row: how many such epochs follow each other, where phases take turns.
        settings: of the loop in these epochs, where they are others than the run's; epochs, seed and compute are the
            run's in any case.
        keeps_labels: whether labels are made at the first epoch of a turn alone; what the loss has learnt (classifiers,
            memories) then goes on through the turn.
        renews: whether a turn begins with a new optimiser, a new BN neck and new classifiers.
    """

    label: Labeller
    loss: Mapping[str, Mapping[str, Any] | None]
    sampling: Sampling
    clusters_per_batch: Count
    images_per_cluster: Count
    local: bool
    in_a_row: Count = 1
    settings: Settings | None = None
    keeps_labels: bool = False
    renews: bool = False
    repeat_images: bool = True

    @property
    def drawing(self) -> dict[str, Any]:
        """How its batches are drawn, as `reidlib.batches.sampling` takes it."""
        return self.batch | {"repeat_images": self.repeat_images}

    @property
    def batch(self) -> dict[str, Any]:
        """What tells the size of its batches, as `reidlib.batches.sampling` takes it."""
        return {name: getattr(self, name) for name in ("sampling", "clusters_per_batch", "images_per_cluster")}


def turn(phases: Sequence[Phase], epoch: int) -> int:
    """Return which phase an epoch (from 0) belongs to; phases take turns, each for its number of epochs.

    >>> batches = {"sampling": "mixed", "clusters_per_batch": 16, "images_per_cluster": 4}
    >>> phases = [Phase(label=print, loss={}, local=epochs == 3, in_a_row=epochs, **batches) for epochs in (3, 2)]
    >>> [turn(phases, epoch) for epoch in range(7)]
    [0, 0, 0, 1, 1, 0, 0]
    """
    in_turn = [number for number, phase in enumerate(phases) for _ in range(phase.in_a_row)]
    return in_turn[epoch % len(in_turn)]


def begins_turn(phases: Sequence[Phase], epoch: int) -> bool:
    """Return whether another phase than before begins with an epoch (from 0)."""
    return epoch == 0 or turn(phases, epoch) != turn(phases, epoch - 1)


def read_plan(params: Mapping[str, Any], section: str) -> tuple[Settings, dict[str, Any], dict[str, Any]]:
    """Return what `train_intra` or `train_inter` says: to the loop, to its phase (batches and loss), to the stage."""
    uses = [Settings, Phase, {"train_intra": IntraStage, "train_inter": InterStage}[section]]
    loop, batches, stage = arguments_of_each(params[section], of=uses, where=section, given=GIVEN)
    augmentation = Augmentation(**arguments(params["augment"], of=Augmentation, where="augment"))
    compute = Compute(**arguments(params["compute"], of=Compute, where="compute"))
    given = {"seed": params["seed"], "from_random": params["extract"]["weights"] == "random"}
    return Settings(**loop, augmentation=augmentation, compute=compute, **given), batches, stage
