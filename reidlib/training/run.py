"""Where a training run stands: what a checkpoint holds, and how a run begins or goes on from one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints, unpacked
from reidlib.training.distributed import World
from reidlib.training.objective import Objective
from reidlib.training.precision import chosen_precision
from reidlib.training.settings import EpochLabels, History, Labels, Phase, Settings, turn

OPTIMISERS: Mapping[str, Any] = {
    "adam": lambda groups, **how: torch.optim.Adam(groups, fused=True, **how),
    "adamw": lambda groups, **how: torch.optim.AdamW(groups, fused=True, **how),
    "sgd": lambda groups, **how: torch.optim.SGD(groups, momentum=0.9, fused=True, **how),
}


@dataclass
class Run:
    """What a run is made of, and where it stands: all that changes, and that a checkpoint holds."""

    model: Embedder
    phases: Sequence[Phase]
    settings: Settings
    world: World
    checkpoints: Checkpoints
    objectives: list[Objective]  # one to a phase
    optimiser: torch.optim.Optimizer
    precision: str
    losses: Float[Tensor, "iterations"]
    history: History = field(default_factory=History)
    epoch: int = 0
    iteration: int = 0
    labelled: EpochLabels | None = None

    @property
    def turn(self) -> int:
        """Which of the phases the present epoch belongs to."""
        return turn(self.phases, self.epoch)

    @property
    def phase(self) -> Phase:
        """The phase of the present epoch."""
        return self.phases[self.turn]

    @property
    def objective(self) -> Objective:
        """The loss of the present epoch."""
        return self.objectives[self.turn]

    def renewed(self, labels: Labels) -> bool:
        """Return whether labels differ from those that the present phase had last."""
        own = [had for epoch, had in enumerate(self.history.labels) if turn(self.phases, epoch) == self.turn]
        return not own or not np.array_equal(own[-1], labels)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "objectives": [objective.state_dict() for objective in self.objectives],
            "optimiser": self.optimiser.state_dict(),
            "precision": self.precision,
            "losses": self.losses,
            "curves": self.history.curves,
            "history": self.history.labels,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "labels": None if self.labelled is None else [self.labelled.labels, self.labelled.measures],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.precision, self.epoch, self.iteration = state["precision"], state["epoch"], state["iteration"]
        for objective, held in zip(self.objectives, state["objectives"], strict=True):
            objective.restore(held, self.losses.device)
        self.renew_groups()
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # in the parameter's memory order, or a fused step takes other paths
                    values[name] = torch.empty_like(parameter).copy_(value)
        self.losses.copy_(state["losses"])
        self.history = History(state["curves"], [labels.numpy() for labels in state["history"]])
        if state["labels"] is not None:
            self.labelled = EpochLabels(state["labels"][0].numpy(), state["labels"][1])

    def renew_groups(self) -> None:
        """Let the optimiser train the parameters that there are now, and forget those that are gone.

        The learning rate of each group is that of the epoch times the group's factor.
        """
        rate, groups = self.settings.rate(self.epoch), parameter_groups(self.model, self.objectives, self.settings)
        self.optimiser.param_groups = [
            self.optimiser.defaults | group | {"lr": rate * group["factor"]} for group in groups
        ]
        alive = {id(parameter) for group in groups for parameter in group["params"]}
        for parameter in [held for held in self.optimiser.state if id(held) not in alive]:
            del self.optimiser.state[parameter]

    def end_epoch(self) -> dict[str, float]:
        """Note the epoch in the history, go to the next, and return the epoch's curve."""
        assert self.labelled is not None
        curve: dict[str, float] = {
            "epoch": float(self.epoch + 1),
            "loss": float(self.world.mean(self.losses).mean()),
            "learning_rate": self.settings.rate(self.epoch),
            **self.labelled.measures,
        }
        self.history.curves.append(curve)
        self.history.labels.append(self.labelled.labels)
        self.epoch, self.iteration, self.labelled = self.epoch + 1, 0, None
        return curve


def parameter_groups(model: Embedder, objectives: Sequence[Objective], settings: Settings) -> list[dict[str, Any]]:
    """Return what is trained, with the `factor` of its learning rate: backbone, the rest, each term's own."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = [parameter for name, parameter in trained.items() if name.startswith("backbone.")]
    rest = [parameter for name, parameter in trained.items() if not name.startswith("backbone.")]
    groups = [{"params": inside, "factor": settings.backbone_rate}, {"params": rest, "factor": 1.0}]
    return groups + [group for objective in objectives for group in objective.parameter_groups()]


def begun(
    model: Embedder,
    phases: Sequence[Phase],
    settings: Settings,
    world: World,
    checkpoints: Checkpoints,
    teacher: Float[np.ndarray, "n width"] | None = None,
) -> Run:
    """Return a new run with an objective for each phase, or the one that the newest checkpoint left."""
    objectives = [Objective(phase.loss, teacher=teacher).to(world.device) for phase in phases]
    groups = parameter_groups(model, objectives, settings)
    optimiser = OPTIMISERS[settings.optimiser](groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    losses = torch.zeros(settings.iterations, device=world.device)
    run = Run(model, phases, settings, world, checkpoints, objectives, optimiser, settings.precision, losses)
    left = world.on_first(checkpoints.newest)
    if left is not None:
        run.restore(unpacked(left))
        if world.first:
            print(f"going on from epoch {run.epoch + 1}, iteration {run.iteration + 1} ({checkpoints})", flush=True)
    elif settings.precision == "auto":
        run.precision = chosen_precision(model, world.device)
        if world.first:
            print(f"precision auto: {run.precision}", flush=True)
    return run
