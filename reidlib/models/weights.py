"""Weights to start from: ImageNet through timm, a file in data/weights/, or none."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from reidlib.models.backbones import IMAGENET
from reidlib.models.embedder import Embedder


def load_weights(embedder: Embedder, weights: str, *, folder: Path) -> None:
    """Load the backbone's starting weights in place.

    Args:
        embedder: its backbone is loaded; pooling and neck keep their initial values.
        weights: `imagenet` (through timm's hub), `random` (nothing is loaded) or the name of a file in `folder`:
            safetensors, or a state dict that `torch.load(weights_only=True)` reads. Prefixes `module.`, `base.` and
            `backbone.` and a classifier (`fc.`, `classifier.`, `head.`) are dropped.
        folder: where weight files lie (a dependency of the stage, so that a changed file is noticed).

    Raises:
        ValueError: where the hub cannot be reached (with the file to fetch and where to put it), the file is missing or
            unreadable, or it does not hold every tensor of the backbone in its shape.
    """
    if weights == "random":
        return
    state = _imagenet(embedder, folder) if weights == "imagenet" else _file(weights, folder)
    expected = embedder.backbone.state_dict()
    missing = sorted(name for name in expected if name not in state and not name.endswith("num_batches_tracked"))
    wrong = sorted(name for name in expected if name in state and state[name].shape != expected[name].shape)
    unknown = sorted(name for name in state if name not in expected)
    if missing or wrong or unknown:
        raise ValueError(
            f"extract.weights={weights}: does not fit the backbone {embedder.architecture.backbone}: "
            f"missing {_some(missing)}; of another shape {_some(wrong)}; unknown {_some(unknown)}"
        )
    embedder.backbone.load_state_dict(state, strict=False)


def _imagenet(embedder: Embedder, folder: Path) -> dict[str, Tensor]:
    import timm

    name = embedder.architecture.backbone
    if name not in IMAGENET:
        raise ValueError(
            f"extract.weights=imagenet: there are no such weights for {name} on timm's hub (there are for "
            f"{', '.join(sorted(IMAGENET))}); put a file into {folder}/ and set extract.weights to its name"
        )
    try:
        network = timm.create_model(IMAGENET[name], pretrained=True, num_classes=0, global_pool="")
    except Exception as error:  # whatever the hub's client raises: the mend is the same
        raise ValueError(
            f"extract.weights=imagenet: the hub cannot be reached ({type(error).__name__}). Fetch model.safetensors of "
            f"timm/{IMAGENET[name]} elsewhere, put it at {folder}/{name}.safetensors and set "
            f"extract.weights={name}.safetensors; or train from extract.weights=random"
        ) from error
    return _backbone_only(network.state_dict())


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
    """Drop wrappers' prefixes, everything outside the backbone of an embedder, and the classifier."""
    if any(name.startswith("backbone.") for name in state):
        state = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    named = {}
    for name, tensor in state.items():
        for prefix in ("module.", "base.", "backbone."):
            name = name.removeprefix(prefix)
        if not name.startswith(("fc.", "classifier.", "head.")):
            named[name] = tensor
    return named


def _some(names: list[str]) -> str:
    return "nothing" if not names else ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
