"""Weights to start from: ImageNet through timm, a file in data/weights/, or none."""

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from reidlib.models.backbones import backbone, positions, timm_name
from reidlib.models.embedder import Embedder

CLASSIFIERS = ("fc.", "classifier.", "head.")


def load_weights(embedder: Embedder, weights: str, *, folder: Path) -> None:
    """Load the backbone's starting weights in place.

    Args:
        embedder: its backbone is loaded; pooling and neck keep their initial values.
        weights: `imagenet` (through timm's hub), `random` (nothing is loaded) or the name of a file in `folder`:
            safetensors, or a state dict that `torch.load(weights_only=True)` reads. Prefixes `module.`, `base.` and
            `backbone.` and a classifier (`fc.`, `classifier.`, `head.`) are dropped; the position embeddings of a
            vision transformer are resampled to the size of ours.
        folder: where weight files lie (a dependency of the stage, so that a changed file is noticed).

    Raises:
        ValueError: where the hub cannot be reached (with the file to fetch and where to put it), the file is missing or
            unreadable, or it does not hold every tensor of the backbone in its shape.
    """
    if weights == "random":
        return
    state = _imagenet(embedder, folder) if weights == "imagenet" else _file(weights, folder)
    expected = embedder.backbone.state_dict()
    _fit_positions(state, embedder)
    missing = sorted(name for name in expected if name not in state and not name.endswith("num_batches_tracked"))
    wrong = sorted(name for name in expected if name in state and state[name].shape != expected[name].shape)
    unknown = sorted(name for name in state if name not in expected and not name.startswith(CLASSIFIERS))
    if missing or wrong or unknown:
        raise ValueError(
            f"extract.weights={weights}: does not fit the backbone {embedder.architecture.backbone}: "
            f"missing {_some(missing)}; of another shape {_some(wrong)}; unknown {_some(unknown)}"
        )
    embedder.backbone.load_state_dict({name: state[name] for name in expected if name in state}, strict=False)


def _imagenet(embedder: Embedder, folder: Path) -> dict[str, Tensor]:
    name, theirs = embedder.architecture.backbone, timm_name(embedder.architecture.backbone)
    if theirs is None or name.endswith("_ibn_a"):
        raise ValueError(
            f"extract.weights=imagenet: there are no such weights for {name} on timm's hub; put a file into {folder}/ "
            "and set extract.weights to its name"
        )
    ours = positions(embedder.backbone)  # timm resamples them to those of the images it is told of
    size_px = embedder.architecture.size_px if ours is None else ours.side_by_side_px
    try:
        network, _ = backbone(name, size_px=size_px, pretrained=True)
    except Exception as error:  # whatever the hub's client raises: the mend is the same
        file = f"{name.removeprefix('timm/')}.safetensors"
        raise ValueError(
            f"extract.weights=imagenet: the hub cannot be reached, or has none ({type(error).__name__}: {error}). "
            f"Fetch model.safetensors of timm/{theirs} elsewhere, put it at {folder / file} and set "
            f"extract.weights={file}; or train from extract.weights=random"
        ) from error
    return network.state_dict()


def _fit_positions(state: dict[str, Tensor], embedder: Embedder) -> None:
    """Resample the position embeddings of a vision transformer for square images to ours, in place."""
    from timm.layers import resample_abs_pos_embed

    ours, theirs = positions(embedder.backbone), state.get("pos_embed")
    if ours is None or theirs is None or theirs.shape == embedder.backbone.get_parameter("pos_embed").shape:
        return
    patches = theirs.shape[1] - ours.prefix
    if math.isqrt(patches) ** 2 == patches:
        state["pos_embed"] = resample_abs_pos_embed(theirs, new_size=ours.grid, num_prefix_tokens=ours.prefix)


def _file(name: str, folder: Path) -> dict[str, Tensor]:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        found = sorted(entry.name for entry in folder.glob("*") if not entry.name.startswith("."))
        raise ValueError(
            f"extract.weights={name}: expected imagenet, random or the name of a file in {folder}/ "
            f"(found there: {_some(found)})"
        )
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a reader of hostile bytes raises anything; the answer is the same
        raise ValueError(
            f"{path}: expected safetensors (*.safetensors) or a plain state dict; it cannot be read as such, and "
            f"nothing else is ever unpickled: {type(error).__name__}"
        ) from error
    if isinstance(state, dict):
        state = state.get("state_dict", state.get("model", state))
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected a state dict (names to tensors), found {type(state).__name__}")
    return _backbone_only(state)


def _backbone_only(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop wrappers' prefixes and everything outside the backbone of an embedder."""
    if any(name.startswith("backbone.") for name in state):
        state = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    named = {}
    for name, tensor in state.items():
        for prefix in ("module.", "base.", "backbone."):
            name = name.removeprefix(prefix)
        named[name] = tensor
    return named


def _some(names: list[str]) -> str:
    return "nothing" if not names else ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
