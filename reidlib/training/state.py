"""Where a training run stands: all that changes while it trains, and that a checkpoint holds."""

from collections.abc import Sequence
from dataclasses import replace
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
from reidlib.training.history import History
from reidlib.training.optimiser import advance_mean, check_parts, load_optimiser, new_optimiser, watched
from reidlib.training.optimiser import parameter_groups as groups_of
from reidlib.training.plan import Labels, Phase, Precision, Settings, begins_turn, turn
from reidlib.training.precision import usable_precision

OF_TRAINING = ("epoch", "loss", "learning_rate")  # of a curve; the rest are the labels' measures


class State:
    """A run: its network, losses (one to a phase) and optimiser, and how far it has come.

    Attributes:
        model: the network that is trained.
        losses: by phase.
        optimiser: of the network and of the losses' own parameters.
        precision: of the network's passes, fp32 or bf16.
        average: running means of the network's weights and buffers, by name; empty without `ema`.
        values: float32 (iterations,), the loss of each iteration of the epoch so far, on the device.
        history: of the epochs that have ended.
        warned: names of the signs that were warned of already.
        epoch: the present one, from 0.
        iteration: the next one of the epoch.
        steps: that were taken.
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
        """Begin at the first epoch; `teacher` holds embeddings of the images for the losses that learn from them.

        Raises:
            ValueError: a frozen part that the network does not have.
        """
        size = sum(parameter.numel() for parameter in model.backbone.parameters())
        settings = settings.of_size(size)
        phases = [replace(phase, settings=phase.settings and phase.settings.of_size(size)) for phase in phases]
        self.model, self.phases, self.world, self._settings = model, phases, world, settings
        self.epoch, self.iteration, self.steps = 0, 0, 0
        self.losses = [TotalLoss(phase.loss, teacher=teacher).to(world.device) for phase in phases]
        self.optimiser = self._new_optimiser()
        self.precision: Precision = settings.compute.precision
        averaged = {} if settings.ema is None else model.state_dict()
        self.average = {name: value.detach().clone() for name, value in averaged.items()}
        self.values = torch.zeros(0 if settings.iterations == "pass" else settings.iterations, device=world.device)
        self.history = History()
        self.warned: set[str] = set()
        self.labels: PseudoLabels | None = None
        check_parts(model, settings.frozen or {})

    def resume(self, checkpoints: Checkpoints, *, size_px: tuple[int, int]) -> None:
        """Go on from the newest checkpoint; without one the precision for images of this height and width is chosen."""
        newest = self.world.on_first(checkpoints.newest)
        if newest is not None:
            self.load(unpack(newest))
            message = f"going on from epoch {self.epoch + 1}, iteration {self.iteration + 1} ({checkpoints})"
        else:
            asked = self.precision
            self.precision = usable_precision(asked, self.model, self.world.device, size_px=size_px)
            if asked == self.precision:
                return
            message = f"precision {asked}: {self.precision}"
            if asked == "bf16":
                message += ", the images are too narrow for bfloat16 on a CPU"
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
        return groups_of(self.model, self.losses, self.settings)

    def _new_optimiser(self) -> torch.optim.Optimizer:
        return new_optimiser(self.parameter_groups(), self.settings)

    def begin_turn(self) -> None:
        """Take another optimiser, and start the neck anew, where a turn begins that wants it."""
        if not self.begins_turn:
            return
        if self.phase.renews:
            self.model.neck.reset_parameters()
        before = self.phases[turn(self.phases, max(self.epoch - 1, 0))].settings or self._settings
        if self.phase.renews or self.settings.optimiser != before.optimiser:
            self.optimiser = self._new_optimiser()

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

    def freeze(self) -> None:
        """Put in evaluation mode what is frozen in the present epoch, of a network that is in training mode."""
        for path in self.settings.frozen_in(self.epoch):
            self.model.get_submodule(path).eval()

    def descend(self, loss: Tensor, necked: Sequence[Tensor] = ()) -> None:
        """Add the gradients of a batch's loss to those of its step, and take the step where the batch is its last.

        Where no gradient came to the features after the neck (`necked`, of each view), the neck has none: several
        processes would give it zeros, which the optimiser takes for a gradient and lets the weight decay follow.
        """
        settings, iteration, iterations = self.settings, self.iteration, len(self.values)
        first = iteration - iteration % settings.accumulate
        if iteration == first:
            self.optimiser.zero_grad()
        together = min(settings.accumulate, iterations - first)
        looked_at = [watched(features) for features in necked]
        torch.autograd.backward(loss / together if together > 1 else loss)
        if necked and not any(looked_at):
            for parameter in self.model.neck.parameters():
                parameter.grad = None
        if not settings.ends_step(iteration, of=iterations):
            return
        for path in settings.frozen_in(self.epoch):
            for parameter in self.model.get_submodule(path).parameters():
                parameter.grad = None  # which an optimiser passes over, its weight decay too
        if settings.clip_norm is not None:
            trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        self.optimiser.step()
        if settings.ema is not None:
            advance_mean(self.average, self.model, keep=settings.ema, steps=self.steps)
        self.steps += 1

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
            "average": self.average,
            "precision": self.precision,
            "values": self.values,
            "curves": self.history.curves,
            "history": self.history.labels,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "steps": self.steps,
            "labels": None if self.labels is None else [self.labels.labels, self.labels.measures],
        }

    def load(self, content: dict[str, Any]) -> None:
        """Take over what `content` returned, bit for bit."""
        self.model.load_state_dict(content["model"])
        for name, value in content["average"].items():
            self.average[name].copy_(value)
        self.precision, self.epoch = content["precision"], content["epoch"]
        self.iteration, self.steps = content["iteration"], content["steps"]
        for loss, saved in zip(self.losses, content["losses"], strict=True):
            loss.load(saved, self.world.device)
        ended = int(content["labels"] is None and self.epoch > 0)
        self.epoch -= ended  # between two epochs the optimiser is that of the one before
        self.optimiser = self._new_optimiser()
        self.update_optimiser()
        self.epoch += ended
        load_optimiser(self.optimiser, content["optimiser"])
        self.values = content["values"].to(self.world.device)
        self.history = History(content["curves"], [labels.numpy() for labels in content["history"]])
        if content["labels"] is not None:
            labels, measures = content["labels"]
            self.labels = PseudoLabels(labels.numpy(), measures)
