"""Weights to start from: ImageNet through timm, a file in data/weights/, or none."""

import math
from collections.abc import Mapping, Set
from pathlib import Path

from torch import Tensor

from reidlib.models.backbones import backbone, timm_name
from reidlib.models.embedder import Embedder
from reidlib.models.vision_transformer import positions
from reidlib.models.weight_files import WeightFile, read_weights, recognise, some

# Heads that stand beside a network's layers, and the exponent of GeM where ours is fixed.
BESIDE = (*(f"backbone.{head}." for head in ("fc", "fc1", "fc2", "embed_fc", "classifier", "head")), "pool.power")


def load_weights(embedder: Embedder, weights: str, *, folder: Path, strict: bool = True) -> None:
    """Load starting weights in place, and print one line: what they are, how much was loaded, what was not.

    Args:
        embedder: its backbone is loaded, and its neck and trained pooling where the file has them.
        weights: `imagenet` (through timm's hub), `random` (nothing is loaded) or the name of a file in `folder`:
            safetensors, or a state dict that `torch.load(weights_only=True)` reads, with the names of torchvision,
            timm, IBN-Net, torchreid, LUPerson, TransReID-SSL, cluster contrast or this pipeline (`recognise`).
            Classifiers and other heads are left out; the position embeddings of a vision transformer are resampled to
            the size of ours; OSNet's weights fill every branch of LightMBN.
        folder: where weight files lie (a dependency of the stage, so that a changed file is noticed).
        strict: whether every tensor of the backbone, but for modules that were added to it, must be in the file, and
            the other way round; else all that fits by name and shape is loaded.

    Raises:
        ValueError: where the hub cannot be reached (with the file to fetch and where to put it), the file is missing or
            unreadable, it does not fit and `strict` is true, or nothing in it fits.
    """
    if weights == "random":
        return
    file = _imagenet(embedder, folder) if weights == "imagenet" else _file(weights, folder)
    _fit_positions(file.state, embedder)
    state, ours = _copies(file.state, embedder), embedder.state_dict()
    fitting = {name: state[name] for name in ours if name in state and state[name].shape == ours[name].shape}
    misfits = _misfits(embedder, state, set(fitting))
    loads = any(name.startswith("backbone.") for name in fitting)
    if not loads or (strict and misfits):
        raise ValueError(
            f"extract.weights={weights}: {file.kind}, does not fit the backbone {embedder.architecture.backbone}: "
            f"{misfits}; {'to load what fits, set extract.strict=false' if loads else 'nothing in it fits'}"
        )
    embedder.load_state_dict(fitting, strict=False)
    heads = [*file.heads, *(name.removeprefix("backbone.") for name in state if name not in ours)]
    print(
        f"extract.weights={weights}: {file.kind}; loaded {_loaded(embedder, set(fitting))}; "
        + (f"did not fit: {misfits}" if misfits else f"heads left out: {some(sorted(heads))}"),
        flush=True,
    )


def _misfits(embedder: Embedder, state: Mapping[str, Tensor], fitting: Set[str]) -> str:
    """Return for a message what is missing, of another shape or unknown; "" where all that matters fits."""
    ours, added = embedder.state_dict(), _added(embedder)
    misfits = {
        "missing": [name for name in _wanted(embedder) if name not in state and not name.startswith(added)],
        "of another shape": [name for name in ours if name in state and name not in fitting],
        "unknown": [name for name in state if name not in ours and not name.startswith(BESIDE)],
    }
    if not any(misfits.values()):
        return ""
    plain = {how: sorted(name.removeprefix("backbone.") for name in names) for how, names in misfits.items()}
    return "; ".join(f"{how} {some(names)}" for how, names in plain.items())


def _loaded(embedder: Embedder, fitting: Set[str]) -> str:
    """Return for a message how much of the backbone and the neck is in `fitting`."""
    wanted, added = _wanted(embedder), _added(embedder)
    new = sum(name not in fitting and name.startswith(added) for name in wanted)
    return (
        f"{len(fitting & set(wanted))} of {len(wanted)} tensors of the backbone"
        + (f" ({new} more are of modules that were added and keep their initial values)" if new else "")
        + (" and the neck" if any(name.startswith("neck.") for name in fitting) else "")
    )


def _wanted(embedder: Embedder) -> list[str]:
    names = embedder.state_dict().keys()
    return [name for name in names if name.startswith("backbone.") and not name.endswith("num_batches_tracked")]


def _added(embedder: Embedder) -> tuple[str, ...]:
    """Return what the names of modules begin with that were added to the backbone, which files need not have."""
    return tuple(f"backbone.{prefix}" for prefix in getattr(embedder.backbone, "added_prefixes", ()))


def _copies(state: Mapping[str, Tensor], embedder: Embedder) -> dict[str, Tensor]:
    """Add the copies that a network of several branches makes of one network's tensors, in place of the originals."""
    copied_from = getattr(embedder.backbone, "copied_from", None)
    if copied_from is None:
        return dict(state)
    named = {name: f"backbone.{copied_from(name)}" for name in embedder.backbone.state_dict()}
    copies = {f"backbone.{name}": state[theirs] for name, theirs in named.items() if theirs in state}
    return {name: tensor for name, tensor in state.items() if name not in named.values()} | copies


def _imagenet(embedder: Embedder, folder: Path) -> WeightFile:
    name, theirs = embedder.architecture.backbone, timm_name(embedder.architecture.backbone)
    if theirs is None:
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
    return recognise(network.state_dict())


def _fit_positions(state: dict[str, Tensor], embedder: Embedder) -> None:
    """Resample the position embeddings of a vision transformer to ours, in place.

    Theirs are taken to be of square images, or of images twice as high as wide, as those of people are.
    """
    from timm.layers import resample_abs_pos_embed

    ours, theirs = positions(embedder.backbone), state.get("backbone.pos_embed")
    if ours is None or theirs is None or theirs.shape == embedder.backbone.get_parameter("pos_embed").shape:
        return
    patches = theirs.shape[1] - ours.prefix
    for grid in ((side := math.isqrt(patches), side), (2 * (half := math.isqrt(patches // 2)), half)):
        if grid[0] * grid[1] == patches:
            state["backbone.pos_embed"] = resample_abs_pos_embed(
                theirs, new_size=ours.grid, old_size=grid, num_prefix_tokens=ours.prefix
            )


def _file(name: str, folder: Path) -> WeightFile:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        found = sorted(entry.name for entry in folder.glob("*") if not entry.name.startswith("."))
        raise ValueError(
            f"extract.weights={name}: expected imagenet, random or the name of a file in {folder}/ "
            f"(found there: {some(found)})"
        )
    return read_weights(path)
