"""Pooling of a feature map into one vector per image, in float32 whatever the features are in."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn


class GeM(nn.Module):
    """Generalised mean over the positions of a feature map [Radenovic et al., TPAMI 2018, arXiv:1711.02512].

    (mean of max(x, eps) ** p) ** (1 / p): p = 1 is the average of the positive part, p -> infinity the maximum; 3 is
    usual. Computed in float32 inside autocast too, where powers of 16-bit numbers overflow.

    Attributes:
        power: p. A parameter of one number where it is trained (kept at 1 or above when used), else a plain number
            that is in no state dict.
    """

    def __init__(self, power: float = 3.0, *, trainable: bool = False, eps: float = 1e-6) -> None:
        """Fix p, or start training it, at `power`.

        Raises:
            ValueError: a power below 1, or an eps that is not above 0.
        """
        super().__init__()
        if not power >= 1 or not eps > 0:
            raise ValueError(f"GeM: expected power >= 1 and eps > 0, got power {power} and eps {eps}")
        self.power = nn.Parameter(torch.tensor([power])) if trainable else power
        self.eps = eps

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels"]:
        """Return the pooled vectors, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            power = self.power.clamp(min=1) if isinstance(self.power, Tensor) else self.power
            return features.float().clamp(min=self.eps).pow(power).mean(dim=(2, 3)).pow(1 / power)

    def extra_repr(self) -> str:
        """Tell p and eps when printed."""
        power = self.power.item() if isinstance(self.power, Tensor) else self.power
        return f"power={power}, trainable={isinstance(self.power, Tensor)}, eps={self.eps}"


def average(features: Float[Tensor, "b channels height width"]) -> Float32[Tensor, "b channels"]:
    """Return the mean over all positions, summed in float32."""
    return features.mean(dim=(2, 3), dtype=torch.float32)


def maximum(features: Float[Tensor, "b channels height width"]) -> Float32[Tensor, "b channels"]:
    """Return the largest value over all positions."""
    return features.amax(dim=(2, 3)).float()


def average_maximum(features: Float[Tensor, "b channels height width"]) -> Float32[Tensor, "b channels"]:
    """Return the sum of the mean and the largest value over all positions."""
    return average(features) + maximum(features)


def class_token(features: Float[Tensor, "b tokens channels"]) -> Float32[Tensor, "b channels"]:
    """Return the first token of a vision transformer."""
    return features[:, 0].float()


class KeptAverage(nn.Module):
    """The mean over all positions as a map of one position, summed in float32."""

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float32[Tensor, "b channels 1 1"]:
        """Return the means."""
        return features.mean(dim=(2, 3), keepdim=True, dtype=torch.float32)


# Each takes the power that only GeM uses.
POOLINGS: Mapping[str, Callable[[float], Callable[[Tensor], Tensor]]] = {
    "gem": GeM,
    "gem_trained": lambda power: GeM(power, trainable=True),
    "average": lambda _: average,
    "max": lambda _: maximum,
    "average_max": lambda _: average_maximum,
    "average_norm": lambda _: average,  # of the one position that is left where the backbone pools before its norm
    "token": lambda _: class_token,
    "parts": lambda _: Tensor.float,  # of a branched network, which pools itself
}


def pooling(name: str, *, power: float, network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the pooling of that name for what `network` returns.

    `average_norm` is that of a ConvNeXt in its own head: the layer norm behind the average, not before it. The norm
    stays in the backbone under its name, which is changed to pool before it.

    Raises:
        ValueError: a name that does not suit the network, with those that do.
    """
    if getattr(network, "cls_token", None) is not None:
        suited = ["token"]
    elif getattr(network, "parts", 1) > 1:
        suited = ["parts"]
    elif _normalises_layers(network):  # Swin, ConvNeXt
        suited = ["average", "average_max", "max"]  # half of their features are negative, and GeM would clamp them
        suited += ["average_norm"] if _head_with_norm(network) is not None else []
    else:
        suited = sorted(POOLINGS.keys() - {"average_norm", "token", "parts"})
    if name not in suited:
        raise ValueError(f"model.pooling: expected {' or '.join(suited)} for this backbone, found {name!r}")
    if name == "average_norm":
        head: Any = _head_with_norm(network)
        head.global_pool = KeptAverage()
    return POOLINGS[name](power)


def _head_with_norm(network: nn.Module) -> nn.Module | None:
    """Return the head of timm that first pools a map, then normalises it; None where there is no such head."""
    head = getattr(network, "head", None)
    pools = isinstance(getattr(head, "global_pool", None), nn.Module)
    return head if pools and isinstance(getattr(head, "norm", None), nn.LayerNorm) else None


def _normalises_layers(network: nn.Module) -> bool:
    """Tell whether a network itself, without the attention added to it, has layer norms."""
    added: tuple[str, ...] = getattr(network, "added_prefixes", ())
    return any(isinstance(part, nn.LayerNorm) and not path.startswith(added) for path, part in network.named_modules())
