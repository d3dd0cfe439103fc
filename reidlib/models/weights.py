"""Weights to start from: ImageNet through timm, a file in data/weights/, or none."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from reidlib.files import listed
from reidlib.models.architecture import PREPROCESSING
from reidlib.models.backbones import backbone, timm_name
from reidlib.models.embedder import Embedder
from reidlib.models.matching import Match, match_tensors
from reidlib.models.renaming import converted
from reidlib.models.vision_transformer import positions
from reidlib.models.weight_files import WeightFile, read_weights, recognise


def load_weights(embedder: Embedder, *, weights: str, folder: Path, strict: bool = True) -> None:
    """Load starting weights in place; print in one line what they are, how much was loaded, and what was not.

    Their `mean`, `std` and `interpolation`, where they are known, go into `embedder.architecture`.

    Args:
        embedder: its backbone is loaded, and its neck and trained pooling where the file has them.
        weights: `imagenet` (through timm's hub), `random` (nothing is loaded) or the name of a file in `folder`:
            safetensors, or a state dict that `torch.load(weights_only=True)` reads, with the names of torchvision,
            timm, IBN-Net, torchreid, LUPerson, TransReID-SSL, cluster contrast or this pipeline (`recognise`), or with
            others in our order (`match_tensors`). One named as a failed `imagenet` asks is taken to be timm's. Heads
            are left out; position embeddings are resampled to the size of ours; OSNet fills all of LightMBN's branches.
        folder: where weight files lie.
        strict: whether file and backbone, but for added modules, must hold the same tensors; else what fits is loaded.

    Raises:
        ValueError: where the hub cannot be reached (with the file to fetch and its place), the file is missing or
            unreadable, it does not fit and `strict` is true, or nothing in it fits.
    """
    if weights == "random":
        return
    file = _imagenet(embedder, folder) if weights == "imagenet" else _file(weights, embedder, folder)
    _fit_positions(file.state, embedder)
    added = tuple(f"backbone.{prefix}" for prefix in getattr(embedder.backbone, "added_prefixes", ()))
    match = _match(file.state, embedder, added)
    if file.norm_eps is not None:
        _fit_variances(match.tensors, embedder, file.norm_eps)
    loads = any(name.startswith("backbone.") for name in match.tensors)
    if not loads or (strict and match.misfits):
        raise ValueError(
            f"extract.weights={weights}: {file.kind}, does not fit the backbone {embedder.architecture.backbone}: "
            f"{match.misfits}; {'to load what fits, set extract.strict=false' if loads else 'nothing in it fits'}"
        )
    embedder.load_state_dict(match.tensors, strict=False)
    embedder.architecture = replace(embedder.architecture, **file.preprocessing)
    heads = listed([*file.heads, *match.heads], most=5)
    print(
        f"extract.weights={weights}: {file.kind}; loaded {match.coverage}; "
        + (f"did not fit: {match.misfits}" if match.misfits else f"heads left out: {heads}")
        + "".join(f"; {key} {value}" for key, value in file.preprocessing.items()),
        flush=True,
    )


def _match(state: dict[str, Tensor], embedder: Embedder, added: tuple[str, ...]) -> Match:
    """Match by names, by order, and by the names that timm converts a file's to, whichever leaves nothing over."""
    match = match_tensors(_copy_to_branches(state, embedder), embedder.state_dict(), added=added)
    backbone = {name.removeprefix("backbone."): state[name] for name in state if name.startswith("backbone.")}
    known = converted(backbone, embedder.backbone) if match.misfits else None
    if known is None:
        return match
    rest = {name: value for name, value in state.items() if not name.startswith("backbone.")}
    other = _copy_to_branches({f"backbone.{name}": value for name, value in known.items()} | rest, embedder)
    again = match_tensors(other, embedder.state_dict(), added=added)
    return match if again.misfits else again


def _fit_variances(tensors: dict[str, Tensor], embedder: Embedder, eps: float) -> None:
    """Let batch norms compute what they did where something else is added to variances, in place."""
    for name, module in embedder.named_modules():
        key = f"{name}.running_var"
        if key in tensors and name.startswith("backbone."):
            own: Any = module
            tensors[key] = tensors[key] + (eps - own.eps)


def _copy_to_branches(state: Mapping[str, Tensor], embedder: Embedder) -> dict[str, Tensor]:
    """Put in place of tensors their copies in a network of several branches, as many as it has."""
    original_name = getattr(embedder.backbone, "original_name", None)
    if original_name is None:
        return dict(state)
    originals = {f"backbone.{name}": f"backbone.{original_name(name)}" for name in embedder.backbone.state_dict()}
    copies = {name: state[original] for name, original in originals.items() if original in state}
    return {name: tensor for name, tensor in state.items() if name not in originals.values()} | copies


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
        file = _hub_file(name)
        raise ValueError(
            f"extract.weights=imagenet: the hub cannot be reached, or has none ({type(error).__name__}: {error}). "
            f"Fetch model.safetensors of timm/{theirs} elsewhere, put it at {folder / file} and set "
            f"extract.weights={file}; or train from extract.weights=random"
        ) from error
    return recognise(network.state_dict())._replace(preprocessing=_timm_preprocessing(theirs))


def _file(weights: str, embedder: Embedder, folder: Path) -> WeightFile:
    path = folder / weights
    if Path(weights).name != weights or not path.is_file():
        there = [entry.name for entry in folder.glob("[!.]*") if entry.suffix != ".dvc"]
        raise ValueError(
            f"extract.weights={weights}: expected imagenet, random or the name of a file in {folder}/ "
            f"(found there: {listed(there, most=5)})"
        )
    file, theirs = read_weights(path), timm_name(embedder.architecture.backbone)
    if theirs is not None and weights == _hub_file(embedder.architecture.backbone):
        file = file._replace(preprocessing=_timm_preprocessing(theirs))
    return file


def _hub_file(name: str) -> str:
    return f"{name.removeprefix('timm/')}.safetensors"


def _timm_preprocessing(name: str) -> dict[str, Any]:
    import timm

    settings = timm.get_pretrained_cfg(name)
    return {key: getattr(settings, key) for key in PREPROCESSING}


def _fit_positions(state: dict[str, Tensor], embedder: Embedder) -> None:
    """Resample the position embeddings of a vision transformer to ours, in place.

    Theirs are taken to be of square images, or of images twice as high as wide, as those of people are.
    """
    ours, theirs = positions(embedder.backbone), state.get("backbone.pos_embed")
    if ours is None or theirs is None or theirs.shape == embedder.backbone.get_parameter("pos_embed").shape:
        return
    from timm.layers import resample_abs_pos_embed

    patches = theirs.shape[1] - ours.prefix
    for grid in ((side := math.isqrt(patches), side), (2 * (half := math.isqrt(patches // 2)), half)):
        if grid[0] * grid[1] == patches:
            state["backbone.pos_embed"] = resample_abs_pos_embed(
                theirs, new_size=ours.grid, old_size=grid, num_prefix_tokens=ours.prefix
            )
