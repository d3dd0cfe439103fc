"""What re-identification changes in the vision transformers of timm: overlapping patches, a stem of convolutions."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.ibn import InstanceBatchNorm

STEM = 64  # channels of the stem's convolutions


class Positions(NamedTuple):
    """The position embeddings of a vision transformer."""

    prefix: int  # how many come before those of the patches
    grid: tuple[int, int]  # rows and columns of patches
    side_by_side_px: tuple[int, int]  # the size of an image with this grid if its patches do not overlap


def positions(network: Any) -> Positions | None:
    """Return the position embeddings of a network with a class token, None where there are none."""
    if getattr(network, "pos_embed", None) is None or getattr(network, "cls_token", None) is None:
        return None
    rows, columns = network.patch_embed.grid_size
    height, width = network.patch_embed.patch_size
    prefix = 0 if getattr(network, "no_embed_class", False) else network.num_prefix_tokens
    return Positions(prefix, (rows, columns), (rows * height, columns * width))


class ConvolutionStem(nn.Module):
    """Three convolutions before the patches are cut, the first of stride 2: the ICS of TransReID-SSL.

    [Luo et al., arXiv:2111.12084]; IBN, in the first two, takes the place of batch norm. Networks with such a stem
    train more steadily [Xiao et al., NeurIPS 2021, arXiv:2106.14881]. Parameters bear the published names (`conv`,
    `proj`). `proj` sees half the resolution: patches of 16 pixels are 8 × 8 positions to it.
    """

    def __init__(self, plain: Any, *, dimension: int) -> None:
        """Build with random weights, for the images, patches and output of a plain stem."""
        super().__init__()
        for name in ("img_size", "patch_size", "grid_size", "num_patches", "flatten"):  # which a transformer reads
            setattr(self, name, getattr(plain, name))
        side = plain.patch_size[0]
        self.conv = nn.Sequential(
            nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False), InstanceBatchNorm(STEM), nn.ReLU(inplace=True),
            nn.Conv2d(STEM, STEM, 3, padding=1, bias=False), InstanceBatchNorm(STEM), nn.ReLU(inplace=True),
            nn.Conv2d(STEM, STEM, 3, padding=1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.proj = nn.Conv2d(STEM, dimension, side // 2, stride=side // 2)

    def forward(self, x: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b *grid d"]:
        """Return the patches' embeddings, row by row."""
        patches = self.proj(self.conv(x)).permute(0, 2, 3, 1)
        return patches.flatten(1, 2) if self.flatten else patches


def convolution_stem(network: Any) -> nn.Module:
    """Give a vision transformer of timm a `ConvolutionStem`, in place, and return it.

    Raises:
        ValueError: another network.
    """
    if positions(network) is None:
        raise ValueError(f"_ics: expected a vision transformer with a class token, found {type(network).__name__}")
    network.patch_embed = ConvolutionStem(network.patch_embed, dimension=network.embed_dim)
    return network


def overlap(network: Any, name: str, stride: int) -> None:
    """Let patches overlap: a smaller step between them, and position embeddings for as many as there are then."""
    known, stem = positions(network), getattr(network, "patch_embed", None)
    finest = 2 if isinstance(stem, ConvolutionStem) else 1  # what the step is a multiple of
    if known is None or stem is None or not 0 < stride <= stem.patch_size[0] or stride % finest:
        raise ValueError(
            f"model.patch_stride: expected none, or, for a vision transformer, {finest} to the side of its patches "
            f"in steps of {finest}; found {stride} for {name}"
        )
    from timm.layers import resample_abs_pos_embed

    grid = tuple((side - patch) // stride + 1 for side, patch in zip(stem.img_size, stem.patch_size, strict=True))
    resampled = resample_abs_pos_embed(
        network.pos_embed.detach(), new_size=list(grid), old_size=list(known.grid), num_prefix_tokens=known.prefix
    )
    network.pos_embed = nn.Parameter(resampled)
    stem.proj.stride, stem.grid_size, stem.num_patches = (stride // finest,) * 2, grid, grid[0] * grid[1]


def join_projection(network: Any) -> None:
    """Let a transformer of CLIP return one token, its class token and behind it what its head makes of that; in place.

    768 and 512 numbers for ViT-B/16, as PCL-CLIP has them [Li & Gong, arXiv:2310.17218]. BN necks for either are one
    BN neck for both.

    Raises:
        ValueError: a network without a class token or without a linear head.
    """
    head = getattr(network, "head", None)
    if positions(network) is None or not isinstance(head, nn.Linear):
        raise ValueError(
            f"_projected: expected a vision transformer with a class token and a projection, as of CLIP; found "
            f"{type(network).__name__} with {head}"
        )
    network.projection, network.head = head, nn.Identity()
    network.head_hidden_size = head.in_features + head.out_features
    network.original_name = _of_head
    network.register_forward_hook(_join)


def _of_head(name: str) -> str:
    """Return the name that a parameter has in a file."""
    return name.replace("projection.", "head.") if name.startswith("projection.") else name


def _join(network: Any, _inputs: object, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b 1 joined"]:
    token = tokens[:, :1]
    return torch.cat([token, network.projection(token)], dim=2)
