"""Where a training run stands: all that changes while it trains, and that a checkpoint holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.labels.signs import warning_signs
from reidlib.losses.total import TotalLoss
from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints, unpack
from reidlib.training.distributed import World
from reidlib.training.plan import Labels, Phase, Settings, begins_turn, turn
from reidlib.training.precision import faster_precision

OPTIMISERS: Mapping[str, Any] = {
    "adam": lambda groups, **values: torch.optim.Adam(groups, fused=True, **values),
    "adamw": lambda groups, **values: torch.optim.AdamW(groups, fused=True, **values),
    "sgd": lambda groups, **values: torch.optim.SGD(groups, momentum=0.9, fused=True, **values),
}

OF_TRAINING = ("epoch", "loss", "learning_rate")  # of a curve; the rest are the labels' measures


@dataclass
class History:
    """What is known of the epochs that have ended: a row of measures, and an array of labels, for each."""

    curves: list[dict[str, float]] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)


class State:
    """A run: its network, losses (one to a phase) and optimiser, and how far it has come.

    Attributes:
        model: the network that is trained.
        losses: by phase.
        optimiser: of the network and of the losses' own parameters.
        precision: of the network's passes, fp32 or bf16.
        values: float32 (iterations,), the loss of each iteration of the epoch so far, on the device.
        history: of the epochs that have ended.
        warned: names of the signs that were warned of already.
        epoch: the present one, from 0.
        iteration: the next one of the epoch.
        labels: of the epoch, None where they are still to be made.
    """

    def __init__(
        self,
        model: Embedder,
        phases: Sequence[Phase],
        settings: Settings,
        world: World,
        teacher: Float[np.ndarray, "n width"] | None = None,
    ) -> None:
        """Begin at the first epoch; `teacher` holds embeddings of the images for the losses that learn from them."""
        self.model, self.phases, self.world, self._settings = model, phases, world, settings
        self.epoch, self.iteration = 0, 0
        self.losses = [TotalLoss(phase.loss, teacher=teacher).to(world.device) for phase in phases]
        self.optimiser = self._new_optimiser()
        self.precision: str = settings.compute.precision
        self.values = torch.zeros(0, device=world.device)
        self.history = History()
        self.warned: set[str] = set()
        self.labels: PseudoLabels | None = None

    def resume(self, checkpoints: Checkpoints) -> None:
        """Go on from the newest checkpoint, if there is one."""
        newest = self.world.on_first(checkpoints.newest)
        if newest is not None:
            self.load(unpack(newest))
            message = f"going on from epoch {self.epoch + 1}, iteration {self.iteration + 1} ({checkpoints})"
        elif self.precision == "auto":
            self.precision = faster_precision(self.model, self.world.device)
            message = f"precision auto: {self.precision}"
        else:
            return
        if self.world.first:
            print(message, flush=True)

    @property
    def turn(self) -> int:
        """Which of the phases the present epoch belongs to."""
        return turn(self.phases, self.epoch)

    @property
    def phase(self) -> Phase:
        """The phase of the present epoch."""
        return self.phases[self.turn]

    @property
    def loss(self) -> TotalLoss:
        """The loss of the present epoch."""
        return self.losses[self.turn]

    @property
    def settings(self) -> Settings:
        """The settings of the present epoch."""
        return self.phase.settings or self._settings

    @property
    def begins_turn(self) -> bool:
        """Whether another phase than before begins with the present epoch."""
        return begins_turn(self.phases, self.epoch)

    @property
    def iterations(self) -> int:
        """Batches of the present epoch."""
        return len(self.values)

    def keep_labels(self) -> bool:
        """Take over the labels of the epoch before, where they stay through a turn; return whether they do."""
        if not self.phase.keeps_labels or self.begins_turn:
            return False
        measures = {name: value for name, value in self.history.curves[-1].items() if name not in OF_TRAINING}
        self.labels = PseudoLabels(self.history.labels[-1], measures)
        return True

    def are_new(self, labels: Labels) -> bool:
        """Return whether labels differ from those that the present phase had last, or its turn begins anew with any."""
        if self.phase.renews and self.begins_turn:
            return True
        before = [old for epoch, old in enumerate(self.history.labels) if turn(self.phases, epoch) == self.turn]
        return not before or not np.array_equal(before[-1], labels)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what is trained, with the `factor` of its learning rate: backbone, the rest, each loss term's own."""
        trained = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        backbone = [parameter for name, parameter in trained.items() if name.startswith("backbone.")]
        rest = [parameter for name, parameter in trained.items() if not name.startswith("backbone.")]
        groups = [{"params": backbone, "factor": self.settings.backbone_rate}, {"params": rest, "factor": 1.0}]
        return groups + [group for loss in self.losses for group in loss.parameter_groups()]

    def _new_optimiser(self) -> torch.optim.Optimizer:
        settings = self.settings
        made: torch.optim.Optimizer = OPTIMISERS[settings.optimiser](
            self.parameter_groups(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        return made

    def begin_turn(self) -> None:
        """Take another optimiser, and start the neck anew, where a turn begins that wants it."""
        if not self.begins_turn:
            return
        if self.phase.renews:
            self.model.neck.reset_parameters()
        if self.phase.renews or self.settings.optimiser != self._settings_before().optimiser:
            self.optimiser = self._new_optimiser()

    def _settings_before(self) -> Settings:
        """The settings of the epoch before the present one, whose optimiser is there when an epoch begins."""
        return self.phases[turn(self.phases, max(self.epoch - 1, 0))].settings or self._settings

    def update_optimiser(self) -> None:
        """Let the optimiser train the parameters that there are now, at the epoch's rate, and forget others.

        The learning rate of each group is that of the epoch times the group's factor.
        """
        rate, groups = self.settings.rate(self.epoch), self.parameter_groups()
        decay = {"weight_decay": self.settings.weight_decay}
        self.optimiser.param_groups = [
            self.optimiser.defaults | decay | group | {"lr": rate * group["factor"]} for group in groups
        ]
        alive = {id(parameter) for group in groups for parameter in group["params"]}
        for parameter in [old for old in self.optimiser.state if id(old) not in alive]:
            del self.optimiser.state[parameter]

    def warn(self) -> None:
        """Say what the labels so far warn of, each sign once in a run."""
        assert self.labels is not None
        for name, line in warning_signs([*self.history.curves, self.labels.measures]).items():
            if self.world.first and name not in self.warned:
                print(f"warning, epoch {self.epoch + 1}: {line}", flush=True)
            self.warned.add(name)

    def end_epoch(self) -> dict[str, float]:
        """Note the epoch in the history, go to the next, and return the epoch's curve."""
        assert self.labels is not None
        curve: dict[str, float] = {
            "epoch": float(self.epoch + 1),
            "loss": float(self.world.mean(self.values).mean()),
            "learning_rate": self.settings.rate(self.epoch),
            **self.labels.measures,
        }
        self.history.curves.append(curve)
        self.history.labels.append(self.labels.labels)
        self.epoch, self.iteration, self.labels = self.epoch + 1, 0, None
        return curve

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "losses": [loss.state_dict() for loss in self.losses],
            "optimiser": self.optimiser.state_dict(),
            "precision": self.precision,
            "values": self.values,
            "curves": self.history.curves,
            "history": self.history.labels,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "labels": None if self.labels is None else [self.labels.labels, self.labels.measures],
        }

    def load(self, content: dict[str, Any]) -> None:
        """Take over what `content` returned, bit for bit."""
        self.model.load_state_dict(content["model"])
        self.precision, self.epoch, self.iteration = content["precision"], content["epoch"], content["iteration"]
        for loss, saved in zip(self.losses, content["losses"], strict=True):
            loss.load(saved, self.world.device)
        if content["labels"] is None and self.epoch:  # between two epochs: the optimiser is that of the one before
            self.epoch -= 1
            self.optimiser = self._new_optimiser()
            self.update_optimiser()
            self.epoch += 1
        else:
            self.optimiser = self._new_optimiser()
            self.update_optimiser()
        self.optimiser.load_state_dict(content["optimiser"])
        for parameter, values in self.optimiser.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # in the parameter's memory order, or a fused step takes other paths
                    values[name] = torch.empty_like(parameter).copy_(value)
        self.values = content["values"].to(self.world.device)
        self.history = History(content["curves"], [labels.numpy() for labels in content["history"]])
        if content["labels"] is not None:
            labels, measures = content["labels"]
            self.labels = PseudoLabels(labels.numpy(), measures)
