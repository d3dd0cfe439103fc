"""The names of other codes' networks, brought to those of timm; what timm itself can convert is left to it."""

import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

# A name, or the beginning of one, and what stands in its place; the first that fits.
CONVNEXT = (
    (r"features\.0\.([01])\.", r"stem.\1."),
    (r"features\.([1357])\.(\d+)\.block\.0\.", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}.conv_dw."),
    (r"features\.([1357])\.(\d+)\.block\.2\.", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}.norm."),
    (r"features\.([1357])\.(\d+)\.block\.3\.", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}.mlp.fc1."),
    (r"features\.([1357])\.(\d+)\.block\.5\.", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}.mlp.fc2."),
    (r"features\.([1357])\.(\d+)\.layer_scale", lambda m: f"stages.{int(m[1]) // 2}.blocks.{m[2]}.gamma"),
    (r"features\.([246])\.([01])\.", lambda m: f"stages.{int(m[1]) // 2}.downsample.{m[2]}."),
    (r"classifier\.0\.", "head.norm."),
)
SOLIDER = (
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.", r"layers.\1.blocks.\2.attn."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.", r"layers.\1.blocks.\2.mlp.fc1."),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1\.", r"layers.\1.blocks.\2.mlp.fc2."),
    (r"stages\.", "layers."),
    (r"norm3\.", "norm."),
)
NO_PART = re.compile(r"norm[012]\.|semantic_embed_|part_token\d|part\d_pos|cls_pos")  # of SOLIDER and PASS, beside


def renamed(network: str, state: State) -> tuple[State, list[str]]:
    """Return the tensors of a recognised network by timm's names, and the names of those that it has no place for.

    Args:
        network: a key of `RENAMINGS`; another is returned as it is.
        state: by the names of its own code.
    """
    if network not in RENAMINGS:
        return state, []
    found = RENAMINGS[network](state)
    return found, [name for name in state if NO_PART.match(name)]


def convnext(state: State) -> State:
    """Rename torchvision's ConvNeXt, whose layer scales are (channels, 1, 1) there."""
    named = _substitute(state, CONVNEXT)
    return {name: value.flatten() if name.endswith(".gamma") else value for name, value in named.items()}


def mobilenet(state: State) -> State:
    """Rename torchvision's MobileNetV3 where names alone tell: its first linear layer is timm's last convolution."""
    named = _substitute(state, ((r"classifier\.0\.", "conv_head."),))
    return {name: value[:, :, None, None] if name == "conv_head.weight" else value for name, value in named.items()}


def solider(state: State) -> State:
    """Rename SOLIDER's Swin transformer as its authors call it; what it puts behind stages for semantics is left out.

    Where patches merge, its code goes through the channels first and through the four places of each by rows; the
    authors' goes through the places first, by columns.
    """
    named = _substitute({name: value for name, value in state.items() if not NO_PART.match(name)}, SOLIDER)
    return {name: _by_columns(value) if ".downsample." in name else value for name, value in named.items()}


def part_tokens(state: State) -> State:
    """Join the position of PASS's class token with those of the patches; its part tokens are left out."""
    rest = {name: value for name, value in state.items() if not NO_PART.match(name)}
    return rest | {"pos_embed": torch.cat([state["cls_pos"], state["pos_embed"]], dim=1)}


RENAMINGS: Mapping[str, Callable[[State], State]] = {
    "ConvNeXt of torchvision": convnext,
    "MobileNetV3 of torchvision": mobilenet,
    "Swin transformer of SOLIDER": solider,
    "vision transformer with part tokens, of PASS": part_tokens,
}


def converted(state: Mapping[str, Tensor], network: nn.Module) -> State | None:
    """Return a state dict as timm converts it for a network of its own; None where it knows no way, or no need.

    The names of the authors of ConvNeXt, Swin and CLIP among others, and relative positions of other windows.
    """
    convert: Any = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None or not type(network).__module__.startswith("timm."):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about how timm interpolates
            found: State = convert(dict(state), network)
    except Exception:  # it is written for files that fit
        return None
    return found


def norm_eps(network: str, state: State) -> float | None:
    """Return what a recognised network of torchvision adds to the variances of batch norms, None where that is usual.

    Args:
        network: what it was recognised as.
        state: by torchvision's names.
    """
    if network == "MobileNetV3 of torchvision":
        return 0.001
    if network == "EfficientNet of torchvision":
        fused = state["features.1.0.block.0.0.weight"].shape[1] > 1  # version 2
        last = [int(value.shape[0]) for name, value in state.items() if name.startswith("features.8.0.")]
        wide = max(last, default=0) >= 2048
        return 0.001 if fused or wide else None  # wide: b5 to b7
    return None


def _substitute(state: State, rules: Any) -> State:
    named: State = {}
    for name, value in state.items():
        pattern, new = next((rule for rule in rules if re.match(rule[0], name)), ("", ""))
        named[re.sub(f"^{pattern}", new, name, count=1) if pattern else name] = value
    return named


def _by_columns(value: Tensor) -> Tensor:
    """Order the last axis of what merges patches: (channels, 2 rows, 2 columns) as (2 columns, 2 rows, channels)."""
    channels = value.shape[-1] // 4
    return value.unflatten(-1, (channels, 2, 2)).movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3)  # type: ignore[no-untyped-call]
