"""The loss of a training run: a weighted sum of terms, chosen by name."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor, nn

from reidlib.schema import Epochs, NotNegative, checked
from reidlib.training import terms as room
from reidlib.training.term import Batch, Start, Term


def term_class(name: str, *, where: str) -> type[Term]:
    """Return the one subclass of `Term` that the file `terms/<name>.py` defines.

    Raises:
        ValueError: for a name without a file, with those that there are.
    """
    names = sorted(module.name for module in iter_modules(room.__path__))
    if name not in names:
        raise ValueError(f"{where}.{name}: expected a term of the loss among {', '.join(names)}")
    module = import_module(f"{room.__name__}.{name}")
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Term)]
    own = [value for value in found if value.__module__ == module.__name__]
    assert len(own) == 1, f"{module.__name__}: expected one Term, found {own}"
    return own[0]


def term(name: str, settings: Mapping[str, Any], *, where: str) -> tuple[Term, float, int]:
    """Return a new term, its weight, and the epoch (from 0) from which on it counts.

    Raises:
        ValueError: for an unknown name, and for settings that do not fit, by their names.
    """
    kind = term_class(name, where=where)
    common = {"weight": 1.0, "from_epoch": 0} | {key: settings[key] for key in _COMMON if key in settings}
    checked(common, of=_common, where=f"{where}.{name}")
    own = {key: value for key, value in settings.items() if key not in _COMMON}
    return kind(**checked(own, of=kind, where=f"{where}.{name}")), float(common["weight"]), int(common["from_epoch"])


def _common(*, weight: NotNegative, from_epoch: Epochs) -> None:
    """What every term may be given beside its own settings."""


_COMMON = ("weight", "from_epoch")


class Objective(nn.Module):
    """The weighted sum of terms.

    Attributes:
        terms: by name.
    """

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]],
        *,
        where: str = "loss",
        teacher: Float[np.ndarray, "n width"] | None = None,
    ) -> None:
        """Build the terms.

        Args:
            settings: for each term its settings, `weight` (1) and `from_epoch` (0) among them.
            where: the key of params.yaml that holds them, for messages.
            teacher: embeddings of the training images by another network, for the terms that learn from it.

        Raises:
            ValueError: where there is no term, or settings do not fit.
        """
        super().__init__()
        if not settings:
            raise ValueError(f"{where}: expected at least one term of the loss, found none")
        made = {name: term(name, values, where=where) for name, values in settings.items()}
        self.terms = nn.ModuleDict({name: one for name, (one, _, _) in made.items()})
        for one in self._terms():
            if teacher is not None:
                one.teach(teacher)
        self._weights = {name: (weight, first) for name, (_, weight, first) in made.items()}

    @property
    def views(self) -> int:
        """How many views of each image a batch must hold."""
        return max(one.views for one in self._terms())

    def _terms(self) -> Iterator[Term]:
        yield from self.terms.values()  # type: ignore[misc] # ModuleDict knows modules only

    def classes(self, labels: Int32[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
        """Return the labels to train on: outliers as clusters of their own where a term wants them so."""
        if not any(one.outliers_are_classes for one in self._terms()):
            return labels
        alone = labels < 0
        numbered = labels.copy()
        numbered[alone] = labels.max(initial=-1) + 1 + np.arange(int(alone.sum()), dtype=np.int32)
        return numbered

    def begin(self, start: Start) -> None:
        """Make every term ready for an epoch."""
        for one in self._terms():
            one.begin(start)
        self.to(start.device)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the weighted sum of the terms' losses."""
        total = batch.first.pooled.new_zeros((), dtype=torch.float32)
        for name, one in self.terms.items():
            weight, first = self._weights[name]
            if weight and batch.epoch >= first:
                total = total + weight * one(batch)
        return total

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """Let every term take in a batch."""
        for one in self._terms():
            one.update(batch)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the terms' parameters for an optimiser, each group with the `factor` of its learning rate."""
        groups = [{"params": list(one.parameters()), "factor": one.rate} for one in self._terms()]
        return [group for group in groups if group["params"]]

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over a state dict whose tensors may be of other shapes than the present ones."""
        for name, tensor in state.items():
            owner, _, attribute = name.rpartition(".")
            module = self.get_submodule(owner)
            fresh = torch.empty_like(tensor, device=device)
            held = nn.Parameter(fresh) if attribute in module._parameters else fresh
            setattr(module, attribute, held)
        self.load_state_dict(dict(state))
        self.to(device)
