"""Where a training run stands: what a checkpoint holds, and how a run begins or goes on from one."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reidlib.models.embedder import Embedder
from reidlib.training.checkpoint import Checkpoints, unpacked
from reidlib.training.distributed import World
from reidlib.training.memories import ClusterMemory
from reidlib.training.precision import chosen_precision
from reidlib.training.settings import EpochLabels, History, Settings


@dataclass
class Run:
    """Where a run stands: all that changes, and that a checkpoint holds."""

    model: Embedder
    optimiser: torch.optim.Optimizer
    precision: str
    losses: Float[Tensor, "iterations"]
    history: History
    epoch: int = 0
    iteration: int = 0
    labelled: EpochLabels | None = None
    memory: ClusterMemory | None = None

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self.precision,
            "losses": self.losses,
            "curves": self.history.curves,
            "history": self.history.labels,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "labels": None if self.labelled is None else [self.labelled.labels, self.labelled.measures],
            "memory": None if self.memory is None else self.memory.state_dict(),
        }

    def restore(self, state: dict[str, Any], settings: Settings) -> None:
        """Take over what `state` returned, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:  # in the parameter's memory order, or a fused step takes other paths
                    values[name] = torch.empty_like(parameter).copy_(value)
        self.precision, self.epoch, self.iteration = state["precision"], state["epoch"], state["iteration"]
        self.losses.copy_(state["losses"])
        self.history = History(state["curves"], [labels.numpy() for labels in state["history"]])
        if state["memory"] is not None:
            self.labelled = EpochLabels(state["labels"][0].numpy(), state["labels"][1])
            centres, cameras = (state["memory"][name] for name in ("centres", "cameras"))
            self.memory = ClusterMemory(centres, momentum=settings.momentum, cameras=cameras).to(self.losses.device)
            self.memory.load_state_dict(state["memory"])

    def end_epoch(self, settings: Settings, world: World) -> dict[str, float]:
        """Note the epoch in the history, go to the next, and return the epoch's curve."""
        assert self.labelled is not None
        curve: dict[str, float] = {
            "epoch": float(self.epoch + 1),
            "loss": float(world.mean(self.losses).mean()),
            "learning_rate": settings.rate(self.epoch),
            **self.labelled.measures,
        }
        self.history.curves.append(curve)
        self.history.labels.append(self.labelled.labels)
        self.epoch, self.iteration, self.labelled, self.memory = self.epoch + 1, 0, None, None
        return curve


def begun(model: Embedder, settings: Settings, world: World, checkpoints: Checkpoints) -> Run:
    """Return a new run, or the one that the newest checkpoint left."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    losses = torch.zeros(settings.iterations, device=world.device)
    run = Run(model, optimiser, settings.precision, losses, History())
    left = world.on_first(checkpoints.newest)
    if left is not None:
        run.restore(unpacked(left), settings)
        if world.first:
            print(f"going on from epoch {run.epoch + 1}, iteration {run.iteration + 1} ({checkpoints})", flush=True)
    elif settings.precision == "auto":
        run.precision = chosen_precision(model, world.device)
        if world.first:
            print(f"precision auto: {run.precision}", flush=True)
    return run
