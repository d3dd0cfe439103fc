"""Attention on feature maps by name, and how it is put behind a stage of a backbone."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reidlib.settings import Count, arguments

# What stages are called in the networks of timm (ResNets, ConvNeXt, EfficientNet and MobileNet), OSNet and LightMBN.
STAGES = re.compile(r"layer\d|stages\.\d+(\.blocks)?|blocks\.\d+|((whole|stripes|halves)\.)?conv[2-4]")
LAST = re.compile(r"(.+)\[-(\d+):\]")  # a stage's last blocks


class PositionAttention(nn.Module):
    """Self-attention over positions: each becomes itself plus a weighted sum over all, by likeness of their features.

    [Fu et al., CVPR 2019, arXiv:1809.02983]; the factor on the sum starts at 0, so that the module starts as the
    identity. In float32 inside autocast too: the products of the softmax are not scaled, thus too large for 16 bits.
    """

    def __init__(self, channels: int, *, reduction: Count = 8) -> None:
        """Compare positions by channels / reduction numbers each."""
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, max(channels // reduction, 1), 1) for _ in range(2))
        self.value = nn.Conv2d(channels, channels, 1)
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return features with what is alike elsewhere added."""
        with torch.autocast(features.device.type, enabled=False):
            values = features.to(torch.promote_types(features.dtype, torch.float32))
            query, key, value = (part(values).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))
            attended = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
            return (values + self.factor * attended.transpose(1, 2).view_as(values)).to(features.dtype)


class ChannelAttention(nn.Module):
    """Self-attention over channels: each becomes itself plus a weighted sum over all, the less alike the heavier.

    [Fu et al., CVPR 2019, arXiv:1809.02983], whose text weights by likeness; we do as its published code and those
    of the re-identification networks that took it over, which subtract the products from the largest of their row
    (the same as their sign turned). Starts as the identity; in float32 as `PositionAttention`.
    """

    def __init__(self) -> None:
        """Start as the identity."""
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return features with those of other channels added."""
        with torch.autocast(features.device.type, enabled=False):
            values = features.to(torch.promote_types(features.dtype, torch.float32))
            maps = values.flatten(2)
            attended = functional.scaled_dot_product_attention(maps, -maps, maps, scale=1.0)
            return (values + self.factor * attended.view_as(values)).to(features.dtype)


class NonLocal(nn.Module):
    """Self-attention over positions, their products divided by the number of positions and not put through a softmax.

    [Wang et al., CVPR 2018, arXiv:1711.07971], in the form that AGW's and fast-reid's code have: x + norm(conv(q k v /
    n)); the norm's scale starts at 0, and the module as the identity. In float32 as `PositionAttention`.
    """

    def __init__(self, channels: int, *, reduction: Count = 2) -> None:
        """Compare positions by channels / reduction numbers each."""
        super().__init__()
        inside = max(channels // reduction, 1)
        self.query, self.key, self.value = (nn.Conv2d(channels, inside, 1) for _ in range(3))
        self.out, self.norm = nn.Conv2d(inside, channels, 1), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return features with what is alike elsewhere added."""
        with torch.autocast(features.device.type, enabled=False):
            values = features.to(torch.promote_types(features.dtype, torch.float32))
            query, key, value = (part(values).flatten(2) for part in (self.query, self.key, self.value))
            # (value keyᵀ) query, not value (keyᵀ query): the same, and nothing of positions × positions
            attended = value @ key.transpose(1, 2) @ query / query.shape[2]
            attended = attended.view(len(values), -1, *values.shape[2:])
            return (values + self.norm(self.out(attended))).to(features.dtype)


def cbam(channels: int, *, reduction: Count = 16) -> Any:
    """Gate channels by their mean and maximum, then positions by 7 × 7 [Woo et al., ECCV 2018, arXiv:1807.06521]."""
    return _timm_attention("cbam", channels, reduction)


def se(channels: int, *, reduction: Count = 16) -> Any:
    """Gate channels by their means: squeeze and excitation [Hu et al., CVPR 2018, arXiv:1709.01507]."""
    return _timm_attention("se", channels, reduction)


def global_context(channels: int, *, reduction: Count = 16, multiply: bool = False) -> Any:
    """Add to every position what an attention over all gathers [Cao et al., ICCVW 2019, arXiv:1904.11492].

    The last layer starts at 0, and the module as the identity. With `multiply` the channels are multiplied by the
    sigmoid of what is gathered instead, which starts anywhere (Cao et al., TPAMI 2020, arXiv:2012.13375).
    """
    if multiply:
        return _timm_attention("gc", channels, reduction)
    module = _timm_attention("gca", channels, reduction)
    nn.init.zeros_(module.mlp_add.fc2.bias)  # timm zeroes the weight alone
    return module


def non_local(channels: int, *, reduction: Count = 2, softmax: bool = True) -> Any:
    """Non-local block of AGW [Ye et al., TPAMI 2021, arXiv:2001.04193]: its last BN starts at 0, it as the identity.

    timm's block, which weights positions by a softmax; without `softmax` a `NonLocal`, as AGW has it.
    """
    if not softmax:
        return NonLocal(channels, reduction=reduction)
    return _timm_attention("nl", channels, reduction)


def fpb(channels: int, *, reduction: Count = 8) -> nn.Module:
    """Position, then channel self-attention, as in FPB [Zhang et al., arXiv:2108.01901]."""
    return nn.Sequential(PositionAttention(channels, reduction=reduction), ChannelAttention())


def plr(channels: int, *, reduction: Count = 8, squeeze: Count = 16) -> nn.Module:
    """Position self-attention, then squeeze and excitation, as in PLR-OSNet [Xie et al., arXiv:2001.07442]."""
    return nn.Sequential(PositionAttention(channels, reduction=reduction), se(channels, reduction=squeeze))


ATTENTIONS: Mapping[str, Callable[..., nn.Module]] = {
    "cbam": cbam,
    "se": se,
    "global_context": global_context,
    "non_local": non_local,
    "fpb": fpb,
    "plr": plr,
}


def attention(name: str, channels: int, **settings: Any) -> nn.Module:
    """Build an attention that turns maps (b, channels, h, w) into such maps.

    Args:
        name: a key of `ATTENTIONS`.
        channels: of the maps.
        settings: keyword-only parameters of the function of that name.

    Raises:
        ValueError: for an unknown name, or settings that it does not have.
    """
    if name not in ATTENTIONS:
        raise ValueError(f"model.attention: expected {', '.join(ATTENTIONS)}; found {name!r}")
    return ATTENTIONS[name](channels, **arguments(settings, of=ATTENTIONS[name], where="model.attention_settings"))


def add_attention(backbone: nn.Module, *, name: str, after: str | Sequence[str], **settings: Any) -> None:
    """Put an attention behind one or several places of a backbone; see `attention` and `append_to_stage`.

    Args:
        backbone: changed in place.
        name: of the attention.
        after: a stage, or `layer3[-2:]`: behind each of the last two blocks of layer3; or several such places.
        settings: of the attention.
    """
    for place in [after] if isinstance(after, str) else after:
        last = LAST.fullmatch(place)
        stage = last[1] if last else place
        append = partial(append_to_blocks, count=int(last[2])) if last else append_to_stage
        append(backbone, stage, lambda channels: attention(name, channels, **settings))


def append_to_blocks(backbone: nn.Module, after: str, build: Callable[[int], nn.Module], *, count: int) -> None:
    """Append what `build` makes to each of a stage's last blocks, as far as it has so many; see `append_to_stage`.

    Each becomes the block's own part `attention`, so that no name changes and no number of a block.
    """
    stage = _stage(backbone, after)
    for number in range(len(stage))[-count:]:
        path = f"{after}.{number}"
        stage[number].add_module("attention", build(_channels(backbone, path)))
        stage[number].register_forward_hook(_attend)
        _note_added(backbone, f"{path}.attention.")


def append_to_stage(backbone: nn.Module, after: str, build: Callable[[int], nn.Module]) -> None:
    """Append what `build` makes for a number of channels to a stage; no other name in the state dict changes.

    `backbone.added_prefixes` then tells how the names of the new parameters begin, which no file of weights has.

    Args:
        backbone: a network of stages that are nn.Sequential and pass on maps (b, channels, h, w).
        after: the stage, such as layer3 of a ResNet, stages.2.blocks of a ConvNeXt, conv4 of an OSNet.
        build: called with the channels of the maps that the stage returns.

    Raises:
        ValueError: for another stage, with those that there are.
    """
    stage = _stage(backbone, after)
    made = build(_channels(backbone, after))
    _note_added(backbone, f"{after}.{len(stage)}.")
    stage.append(made)


def _stage(backbone: nn.Module, path: str) -> Any:
    known = [
        name for name, part in backbone.named_modules() if isinstance(part, nn.Sequential) and STAGES.fullmatch(name)
    ]
    if path not in known or getattr(backbone, "output_fmt", "NCHW") == "NHWC":
        raise ValueError(f"expected a stage of the backbone ({', '.join(known) or 'it has none'}), found {path!r}")
    return backbone.get_submodule(path)


def _note_added(backbone: nn.Module, prefix: str) -> None:
    added: tuple[str, ...] = getattr(backbone, "added_prefixes", ())
    backbone.added_prefixes = (*added, prefix)  # type: ignore[assignment]


def _attend(block: Any, _inputs: object, maps: Float[Tensor, "b channels height width"]) -> Tensor:
    attended: Tensor = block.attention(maps)
    return attended


def _timm_attention(name: str, channels: int, reduction: int) -> Any:
    from timm.layers import create_attn

    return create_attn(name, channels, rd_ratio=1 / reduction)


@torch.no_grad()
def _channels(backbone: nn.Module, stage: str) -> int:
    """Return how many channels a stage returns, by running a copy."""
    trial = copy.deepcopy(backbone).eval()
    seen: list[int] = []
    trial.get_submodule(stage).register_forward_hook(lambda _module, _inputs, maps: seen.append(maps.shape[1]))
    trial(torch.zeros(1, 3, 64, 64, device=next(trial.parameters()).device))
    return seen[0]
