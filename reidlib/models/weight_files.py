"""Weight files of other codes: read, recognised, and brought to the names of our embedder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

# Keys under which checkpoints hold a state dict; of both networks of DINO the teacher is the one to use.
HOLDERS: Sequence[str] = ("teacher", "student", "state_dict", "model")
# What names within the backbone begin with, and where that is so; everything outside is a head.
WRAPPERS: Sequence[tuple[str, str]] = (
    ("encoder_q.", "the query encoder of MoCo, as of LUPerson"),
    ("base_encoder.", "the base encoder of MoCo v3"),
    ("backbone.", "the backbone of a larger network, as of DINO, TransReID-SSL, fast-reid and this pipeline"),
    ("base.", "the base of a re-identification network, as of cluster contrast"),
)
# What the names of a network's own parameters show.
NETWORKS: Sequence[tuple[str, str]] = (
    (r"conv2\.0\.conv2a\.", "OSNet of torchreid"),
    (r"conv2\.0\.conv2\.0\.layers\.", "OSNet-AIN of torchreid"),
    (r"layer1\.\d+\.bn1\.IN\.", "ResNet-IBN-a of IBN-Net"),
    (r"layer1\.\d+\.IN\.", "ResNet-IBN-b of IBN-Net"),
    (r"layer1\.0\.conv1\.", "ResNet of torchvision or timm"),
    (r"patch_embed\.conv\.0\.", "vision transformer with a stem of convolutions"),
    (r"blocks\.0\.attn\.qkv\.", "vision transformer"),
)
# A torchvision ResNet taken apart into an nn.Sequential: 2 and 3 are the ReLU and the pooling of its stem.
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
NECKS = ("neck.", "feat_bn.", "bottleneck.")  # ours, cluster contrast's, and that of the strong baseline and TransReID
POWERS = ("pool.power", "gap.p", "gem.p")  # of GeM


class WeightFile(NamedTuple):
    """What a file holds.

    Attributes:
        kind: what it was recognised as, for a person.
        state: its tensors by the names of an `Embedder`: `backbone.<name>`, and `neck.<name>` and `pool.power` where it
            has a BN neck and a trained GeM.
        heads: the names of the others, which belong to heads and have no place in an embedder.
    """

    kind: str
    state: dict[str, Tensor]
    heads: list[str]


def read_weights(path: Path) -> WeightFile:
    """Read a safetensors file or what `torch.load(weights_only=True)` reads, and recognise it.

    Raises:
        ValueError: a file that cannot be read so, or holds no state dict.
    """
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a reader of hostile bytes raises anything; the answer is the same
        raise ValueError(
            f"{path}: expected safetensors (*.safetensors) or a plain state dict; it cannot be read as such, and "
            f"nothing else is ever unpickled: {type(error).__name__}{_resaving(error)}"
        ) from error
    return recognise(_state(found, path))


def recognise(state: Mapping[str, Tensor]) -> WeightFile:
    """Tell by its names what a state dict is of, and give its tensors the names of an embedder."""
    named = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    prefix, origin = next((known for known in WRAPPERS if any(name.startswith(known[0]) for name in named)), ("", ""))
    inside = {name.removeprefix(prefix) for name in named if name.startswith(prefix)}
    taken_apart = {"0.weight", "1.weight", "4.0.conv1.weight"} <= inside
    ours: dict[str, Tensor] = {}
    heads = []
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
    network = next((kind for names, kind in NETWORKS if any(re.match(f"backbone.{names}", name) for name in ours)), "")
    return WeightFile(" in ".join(filter(None, [network or "a network of unknown names", origin])), ours, heads)


def _state(found: Any, path: Path) -> dict[str, Tensor]:
    for _ in HOLDERS:  # one may lie in another
        key = next((key for key in HOLDERS if isinstance(found, dict) and isinstance(found.get(key), dict)), None)
        found = found if key is None else found[key]
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a state dict (names to tensors), found {type(found).__name__}")
    other = [str(name) for name, value in found.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if other or not found:
        raise ValueError(
            f"{path}: expected a state dict (names to tensors), itself or as one of {', '.join(HOLDERS)}; "
            f"found {f'no tensors: {some(other)}' if other else 'an empty one'}"
        )
    return found


def _resaving(error: Exception) -> str:
    """Say how to keep only the tensors of a checkpoint that holds objects of other classes too."""
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is None:
        return ""
    return (
        f" (it holds a {refused[1]}). If you trust its source, keep its tensors alone, which runs what it holds: "
        "`found = torch.load(file, weights_only=False)`, `torch.save({'state_dict': found[<the key of the weights>]}, "
        "other_file)`"
    )


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, for a message."""
    return "nothing" if not names else ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
