"""What is trained, and by which optimiser."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reidlib.losses.total import TotalLoss
from reidlib.models.embedder import Embedder
from reidlib.training.plan import Settings

OPTIMISERS: Mapping[str, Any] = {
    "adam": lambda groups, **values: torch.optim.Adam(groups, fused=True, **values),
    "adamw": lambda groups, **values: torch.optim.AdamW(groups, fused=True, **values),
    "sgd": lambda groups, **values: torch.optim.SGD(groups, momentum=0.9, fused=True, **values),
    "nesterov": lambda groups, **values: torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=True, **values),
}


def new_optimiser(groups: Sequence[Mapping[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """Return an optimiser of these groups of parameters that has taken no step."""
    made: torch.optim.Optimizer = OPTIMISERS[settings.optimiser](
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    return made


def check_parts(model: nn.Module, frozen: Iterable[str]) -> None:
    """Raise a ValueError unless the network has all parts that are to be frozen, by the paths of their modules."""
    parts = dict(model.named_modules())
    unknown = [path for path in frozen if path not in parts]
    if unknown:
        raise ValueError(
            f"frozen: expected parts of the network, as backbone or backbone.layer1; found {', '.join(unknown)}"
        )


def advance_mean(average: Mapping[str, Tensor], model: nn.Module, *, keep: float, steps: int) -> None:
    """Move running means of the weights and buffers, by name, towards what they are now.

    Args:
        average: moved in place; of whole numbers it takes the newest.
        model: whose weights they are.
        keep: the share of itself that a mean keeps, 0..1; at first less, (1 + steps) / (3 + steps), so that of a short
            run it is a mean of the later half, not of what the run began with.
        steps: that were taken before the last one.
    """
    keep = min(keep, (1 + steps) / (3 + steps))
    now = model.state_dict()
    floats = [name for name, mean in average.items() if mean.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in floats], [now[name] for name in floats], 1 - keep)
    for name in average.keys() - floats:
        average[name].copy_(now[name])


def load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Take over a state dict, in the parameters' memory order, or a fused step takes other paths."""
    optimiser.load_state_dict(saved)
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def parameter_groups(model: Embedder, losses: Sequence[TotalLoss], settings: Settings) -> list[dict[str, Any]]:
    """Return what is trained, with the `factor` of its learning rate: backbone, the rest, each loss term's own."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    backbone = [parameter for name, parameter in trained.items() if name.startswith("backbone.")]
    rest = [parameter for name, parameter in trained.items() if not name.startswith("backbone.")]
    groups = [{"params": backbone, "factor": settings.backbone_rate}, {"params": rest, "factor": 1.0}]
    if not settings.decay_norms:
        groups = [part for group in groups for part in _vectors_apart(group)]
    return groups + [group for loss in losses for group in loss.parameter_groups()]


def watched(features: Tensor) -> list[bool]:
    """Return a list that is empty until a gradient comes to the features."""
    came: list[bool] = []

    def note(gradient: Tensor | None) -> None:  # None comes where another output of the same operation has one
        if gradient is not None:
            came.append(True)

    if features.requires_grad:
        features.register_hook(note)  # type: ignore[no-untyped-call]
    return came


def _vectors_apart(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a group of parameters into those that weight decay concerns, and biases and the scales of norms."""
    matrices = [parameter for parameter in group["params"] if parameter.ndim > 1]
    vectors = [parameter for parameter in group["params"] if parameter.ndim <= 1]
    return [group | {"params": matrices}, group | {"params": vectors, "weight_decay": 0.0}]
