"""Weight files of other codes: read, recognised, and brought to the names of our embedder."""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from reidlib.files import listed
from reidlib.models.description import Description
from reidlib.models.file_kinds import foreign_kind, is_safetensors
from reidlib.models.renaming import norm_eps, renamed

# Keys under which checkpoints hold a state dict; of both networks of DINO the teacher is the one to use, and a running
# mean before what it is the mean of.
HOLDERS: Sequence[str] = (
    *("teacher", "student", "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network"),
)
# What wrappers put before all names of a network, backbone and heads; whatever lies outside is of no network.
WRAPPERS: Sequence[str] = ("module.", "_orig_mod.", "model.", "net.", "network.", "teacher.", "student.", "ema.")
# What names within the backbone begin with, and where that is so; everything outside is a head.
HOSTS: Sequence[tuple[str, str]] = (
    ("encoder_q.", "the query encoder of MoCo, as of LUPerson"),
    ("base_encoder.", "the base encoder of MoCo v3"),
    ("backbone.", "the backbone of a larger network, as of DINO, TransReID-SSL, fast-reid and this pipeline"),
    ("base.", "the base of a re-identification network, as of cluster contrast"),
)
ICS = "vision transformer with a stem of convolutions"
UPRIGHT = "vision transformer of upright images, as of TransReID-SSL"
EFFICIENTNET_LITE = "EfficientNet-Lite of lukemelas' EfficientNet-PyTorch"
# What the names of a network's own parameters show.
NETWORKS: Sequence[tuple[str, str]] = (
    (r"conv2\.0\.conv2a\.", "OSNet of torchreid"),
    (r"conv2\.0\.conv2\.0\.layers\.", "OSNet-AIN of torchreid"),
    (r"layer1\.\d+\.bn1\.IN\.", "ResNet-IBN-a of IBN-Net"),
    (r"layer1\.\d+\.IN\.", "ResNet-IBN-b of IBN-Net"),
    (r"layer1\.0\.conv1\.", "ResNet of torchvision or timm"),
    (r"patch_embed\.conv\.0\.", ICS),
    (r"part_token1$", "vision transformer with part tokens, of PASS"),
    (r"visual\.class_embedding$", "CLIP of OpenAI"),
    (r"stages\.0\.blocks\.0\.attn\.w_msa\.", "Swin transformer of SOLIDER"),
    (r"layers\.0\.downsample\.reduction\.", "Swin transformer of its authors, as of CION"),
    (r"downsample_layers\.0\.0\.", "ConvNeXt of its authors, as of CION"),
    (r"features\.1\.0\.layer_scale$", "ConvNeXt of torchvision"),
    (r"features\.1\.0\.block\.0\.0\.", "EfficientNet of torchvision"),
    (r"features\.1\.block\.0\.0\.", "MobileNetV3 of torchvision"),
    (r"blocks\.0\.attn\.qkv\.", "vision transformer"),
    (r"_blocks\.0\._se_reduce\.", "EfficientNet of lukemelas' EfficientNet-PyTorch"),
    (r"_blocks\.0\._depthwise_conv\.", EFFICIENTNET_LITE),
    (r"features\.1\.conv\.0\.", "MobileNetV2 of torchvision"),
)
# What else than ImageNet's mean and standard deviation, and bilinear resizing, networks were trained with.
HALF: Mapping[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
OTHER_PREPROCESSING: Mapping[str, Mapping[str, Any]] = {
    EFFICIENTNET_LITE: HALF,
    ICS: HALF,
    UPRIGHT: HALF,
    "vision transformer with part tokens, of PASS": HALF,
    "Swin transformer of SOLIDER": HALF,
    "CLIP of OpenAI": {
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
        "interpolation": "bicubic",
    },
}
# A torchvision ResNet taken apart into an nn.Sequential: 2 and 3 are the ReLU and the pooling of its stem.
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
NECKS = ("neck.", "feat_bn.", "bottleneck.")  # ours, cluster contrast's, and that of the strong baseline and TransReID
POWERS = ("pool.power", "gap.p", "gem.p")  # of GeM


class WeightFile(NamedTuple):
    """What a file holds.

    Attributes:
        kind: what it was recognised as, for a person.
        state: its tensors by the names of an `Embedder`: `backbone.<name>`, and `neck.<name>` and `pool.power` where it
            has a BN neck and a trained GeM; in the order of the file.
        heads: the names of the others, which belong to heads and have no place in an embedder.
        preprocessing: `mean`, `std` and `interpolation` of an `Architecture`, as far as they are known.
        norm_eps: what its batch norms add to variances; None where that is usual (.00001) or not known.
    """

    kind: str
    state: dict[str, Tensor]
    heads: list[str]
    preprocessing: Mapping[str, Any]
    norm_eps: float | None = None


def read_weights(path: Path) -> WeightFile:
    """Read a safetensors file or what `torch.load(weights_only=True)` reads, and recognise it.

    Raises:
        ValueError: a file that cannot be read so, with what it is instead, or one that holds no state dict.
    """
    expected = f"{path}: expected safetensors or a plain state dict of torch (nothing else is ever unpickled)"
    kind = foreign_kind(path)
    if kind is not None:
        raise ValueError(f"{expected}, found {kind}")
    metadata: dict[str, str] = {}
    try:
        if is_safetensors(path):
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                content: Any = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        else:
            with path.open("rb") as file:  # a path's suffix would decide
                content = torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # a reader of hostile bytes raises anything; the answer is the same
        raise ValueError(f"{expected}; it cannot be read as such: {type(error).__name__}{_advice(error)}") from error
    weights = recognise(_state(content, path))
    with suppress(ValueError):  # of a model of this pipeline
        weights = weights._replace(preprocessing=Description.of_metadata(metadata).architecture.preprocessing)
    return weights


def recognise(state: Mapping[str, Tensor]) -> WeightFile:
    """Tell by its names what a state dict is of, and give its tensors the names of an embedder."""
    named, heads = _unwrap(state)
    prefix, origin = next((known for known in HOSTS if any(name.startswith(known[0]) for name in named)), ("", ""))
    inside = {name.removeprefix(prefix) for name in named if name.startswith(prefix)}
    taken_apart = {"0.weight", "1.weight", "4.0.conv1.weight"} <= inside
    ours: dict[str, Tensor] = {}
    for name, tensor in named.items():
        neck = next((known for known in NECKS if name.startswith(known)), None)
        if neck is not None and not (name == f"{neck}bias" and tensor.any()):  # the bias of our neck stays zero
            ours[f"neck.{name.removeprefix(neck)}"] = tensor
        elif name in POWERS:
            ours["pool.power"] = tensor
        elif neck is None and name.startswith(prefix):
            first, dot, rest = name.removeprefix(prefix).partition(".")
            ours[f"backbone.{SEQUENTIAL.get(first, first) if taken_apart else first}{dot}{rest}"] = tensor
        else:
            heads.append(name)
    inside_ours = {name.removeprefix("backbone."): ours[name] for name in ours if name.startswith("backbone.")}
    network = next((kind for names, kind in NETWORKS if any(re.match(names, name) for name in inside_ours)), "")
    network = UPRIGHT if network == "vision transformer" and _is_upright(inside_ours.get("pos_embed")) else network
    eps = norm_eps(network, inside_ours)
    inside_ours, beside = renamed(network, inside_ours)
    ours = {f"backbone.{name}": value for name, value in inside_ours.items()} | {
        name: value for name, value in ours.items() if not name.startswith("backbone.")
    }
    kind = " in ".join(filter(None, [network or "a network of unknown names", origin]))
    return WeightFile(kind, ours, heads + beside, OTHER_PREPROCESSING.get(network, {}), eps)


def _is_upright(positions: Tensor | None) -> bool:
    """Tell by the position embeddings of a class token and patches whether images were twice as high as wide."""
    half = (positions.shape[1] - 1) / 2 if positions is not None and positions.ndim == 3 else 0
    return half > 0 and half == math.isqrt(int(half)) ** 2


def _unwrap(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a network by their names without those of wrappers, and the names outside of these."""
    named = dict(state)
    outside: list[str] = []
    while wrapper := next((known for known in WRAPPERS if any(name.startswith(known) for name in named)), None):
        outside += [name for name in named if not name.startswith(wrapper)]
        named = {name.removeprefix(wrapper): named[name] for name in named if name.startswith(wrapper)}
    return named, outside


def _state(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in HOLDERS:  # one may lie in another
        key = next((key for key in HOLDERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
        content = content if key is None else content[key]
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a state dict (names to tensors), found {type(content).__name__}")
    others = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others or not content:
        raise ValueError(
            f"{path}: expected a state dict (names to tensors), itself or as one of {', '.join(HOLDERS)}; "
            f"found {f'no tensors: {listed(others, most=5)}' if others else 'an empty one'}"
        )
    return content


def _advice(error: Exception) -> str:
    """Say how to keep only the tensors of a checkpoint that holds objects of other classes too."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is None:
        return ""
    return (
        f" (it holds a {refused[1]}). If you trust its source, keep its tensors alone, which runs what it holds: "
        "`found = torch.load(file, weights_only=False)`, `torch.save({'state_dict': found[<the key of the weights>]}, "
        "other_file)`"
    )
