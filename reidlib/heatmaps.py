"""Which regions of two pictures make them alike to a network, or unlike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from reidlib.batches.augment import normalise
from reidlib.batches.residence import Images
from reidlib.models.embedder import Embedder

OCCLUDED = (8, 4)  # rows and columns that are greyed out one at a time, of a network without a map of features
Map = Float32[np.ndarray, "rows columns"]
Batch = Float[Tensor, "b 3 h w"]
Explain = Callable[[Embedder, Tensor, Tensor], Map]


def similarity_maps(models: Sequence[Embedder], first: Images, second: Images) -> list[tuple[Map, Map]]:
    """Return, for each picture of `first` and its partner in `second`, what each region of both adds to their cosine.

    - A network with a map of features: the cosine falls into a sum over the map's places, of features times their
      gradient, exactly so for mean, maximum and generalised mean, which are homogeneous [Stylianou et al., WACV 2019,
      arXiv:1901.00536]; the offset of the BN neck is spread evenly. The values of a map add up to the cosine.
    - A vision transformer, whose class token gathers from everywhere: the cosine of each patch's token, taken in the
      class token's place, with the other picture's embedding.
    - A branched network: how much the cosine falls where a region is grey.

    Several networks side by side count as `reidlib.embed.embed_together` counts them, with the mean of their maps.

    Args:
        models: in evaluation mode, on any device.
        first: packed RGB pictures.
        second: as many.
    """
    found = []
    for number in range(len(first)):
        maps = [_pair(model, first[number : number + 1], second[number : number + 1]) for model in models]
        one, other = (np.stack([pair[side] for pair in maps]).mean(axis=0) for side in (0, 1))
        found.append((one, other))
    return found


def _pair(model: Embedder, first: Images, second: Images) -> tuple[Map, Map]:
    architecture, where = model.architecture, next(model.parameters()).device
    batches = [
        normalise(images, size_px=model.size_of(images), mean=architecture.mean, std=architecture.std).to(where)
        for images in (first, second)
    ]
    with torch.no_grad():
        ends = [model(batch).embeddings for batch in batches]
    explain = _method(model)
    one, other = (explain(model, batch, end) for batch, end in zip(batches, reversed(ends), strict=True))
    return one, other


def explanation(model: Embedder) -> str:
    """Return in a sentence how this network's maps are made."""
    return EXPLANATIONS[_method(model)]


def _method(model: Embedder) -> Explain:
    if model.parts > 1:
        return _by_occlusion
    return _of_tokens if getattr(model.backbone, "cls_token", None) is not None else _of_places


def _of_places(model: Embedder, batch: Batch, other: Float[Tensor, "1 d"]) -> Map:
    with torch.no_grad():
        features = model.backbone(batch).float()
    features = features.detach().requires_grad_()
    necked = model.neck(model.pool(features).flatten(1))
    cosine = (necked / necked.detach().norm() * other).sum()
    (gradient,) = torch.autograd.grad(cosine, features)
    added = (features * gradient).sum(dim=1)[0].detach()
    return _array(added + (cosine.detach() - added.sum()) / added.numel())


@torch.no_grad()
def _of_tokens(model: Embedder, batch: Batch, other: Float[Tensor, "1 d"]) -> Map:
    backbone: Any = model.backbone
    tokens = backbone(batch).float()[0, backbone.num_prefix_tokens :]
    cosines = functional.normalize(model.neck(tokens), dim=1) @ other[0]
    return _array(cosines.reshape(backbone.patch_embed.grid_size))


@torch.no_grad()
def _by_occlusion(model: Embedder, batch: Batch, other: Float[Tensor, "1 d"]) -> Map:
    rows, columns = OCCLUDED
    cosine = (model(batch).embeddings * other).sum()
    falls = torch.zeros(OCCLUDED)
    for row in range(rows):
        for column in range(columns):
            grey = batch.clone()
            height, width = (torch.arange(parts + 1) * side // parts for parts, side in
                             ((rows, batch.shape[2]), (columns, batch.shape[3])))  # fmt: skip
            grey[:, :, height[row] : height[row + 1], width[column] : width[column + 1]] = 0  # the mean level
            falls[row, column] = cosine - (model(grey).embeddings * other).sum()
    return _array(falls)


def _array(values: Tensor) -> Map:
    return np.asarray(values.cpu().numpy(), np.float32)


EXPLANATIONS: Mapping[Explain, str] = {
    _of_places: "What each region adds to the cosine of two pictures, split exactly by the network's last map.",
    _of_tokens: "How similar each patch's token is to the other picture, as the network compares them.",
    _by_occlusion: "How much the cosine of two pictures falls where a region is made grey.",
}
