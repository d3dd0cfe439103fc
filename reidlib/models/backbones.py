"""Backbones by name: each turns (b, 3, H, W) into a feature map (b, d, h, w), a vision transformer into tokens."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.ibn import ibn_a

# Short names of timm's networks, with the ImageNet weights that the papers start from where there are several.
TIMM: Mapping[str, str] = {
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "vit_small": "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_base": "vit_base_patch16_224.augreg_in21k_ft_in1k",
}


def backbone(
    name: str,
    *,
    last_stride: int = 2,
    size_px: tuple[int, int] | None = None,
    patch_stride: int | None = None,
    drop_path: float = 0.0,
    pretrained: bool = False,
) -> tuple[nn.Module, int]:
    """Build a backbone, with random weights unless `pretrained`.

    Args:
        name: a key of `TIMM`, any network of timm as `timm/<name>`, or `resnet18_half` (a ResNet-18 of half width, of
            2.8 M parameters, sized for a CPU). A ResNet's name followed by `_ibn_a` gives its IBN-a form.
        last_stride: 2 (as for classification) or 1, which doubles the height and width of a ResNet's feature map;
            usual in re-identification [Sun et al., ECCV 2018, arXiv:1711.09349]. The weights are the same either way.
        size_px: height and width of the images, which transformers need and others do not ask.
        patch_stride: step between the patches of a vision transformer; below their side they overlap, as in TransReID
            [He et al., ICCV 2021, arXiv:2102.04378], 12 for patches of 16. None: side by side.
        drop_path: probability of leaving out a residual branch in training, rising linearly to this in the last block.
        pretrained: fetch timm's weights.

    Returns:
        The network, and the d of what it returns: (b, d, h, w), or tokens (b, n, d) where it has a class token.

    Raises:
        ValueError: for an unknown name, or a value that the network has no use for.
    """
    if last_stride not in (1, 2):
        raise ValueError(f"model.last_stride: expected 1 or 2, found {last_stride}")
    plain = name.removesuffix("_ibn_a")
    network = _plain(plain, size_px=size_px, drop_path=drop_path, pretrained=pretrained)
    if plain != name:
        ibn_a(network)
    if last_stride == 1:
        _keep_resolution(network, name)
    if patch_stride is not None:
        _overlap(network, name, patch_stride)
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        network.register_forward_hook(_channels_first)
    return network, network.head_hidden_size


def timm_name(name: str) -> str | None:
    """Return what timm calls a backbone that has weights there, None for others."""
    known = TIMM.get(name, name.removeprefix("timm/"))
    return known if known != name else None


def _plain(name: str, *, size_px: tuple[int, int] | None, drop_path: float, pretrained: bool) -> Any:
    import timm
    from timm.models.resnet import BasicBlock, ResNet

    options: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    if drop_path:
        options["drop_path_rate"] = drop_path
    if name == "resnet18_half":
        return ResNet(BasicBlock, [2, 2, 2, 2], channels=(32, 64, 128, 256), **options)
    theirs = timm_name(name)
    if theirs is None or not timm.is_model(theirs):
        raise ValueError(
            f"model.backbone: expected resnet18_half, {', '.join(sorted(TIMM))} or timm/<a name of "
            f"timm.list_models()>, a ResNet's with or without _ibn_a; found {name!r}"
        )
    if timm.get_pretrained_cfg(theirs).fixed_input_size:
        if size_px is None:
            raise ValueError(f"model.height_px, model.width_px: {name} is built for one size of image; set both")
        options["img_size"] = size_px
    return timm.create_model(theirs, pretrained=pretrained, **options)


def _keep_resolution(network: nn.Module, name: str) -> None:
    """Set the stride of a ResNet's last stage to 1 (timm's `output_stride` would also dilate its convolutions)."""
    if not hasattr(network, "layer4"):
        raise ValueError(f"model.last_stride=1: is for networks with the stages of a ResNet; set 2 for {name}")
    for module in network.get_submodule("layer4.0").modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
        elif isinstance(module, nn.AvgPool2d) and module.stride == 2:  # of the variants -D and ResNeSt
            module.stride = 1
            module.kernel_size = 1 if module.kernel_size == 2 else module.kernel_size


def _overlap(network: Any, name: str, stride: int) -> None:
    """Let patches overlap: a smaller step between them, and position embeddings for as many as there are then."""
    from timm.layers import resample_abs_pos_embed

    known = positions(network)
    if known is None or not 0 < stride <= network.patch_embed.patch_size[0]:
        raise ValueError(
            f"model.patch_stride: expected none, or, for a vision transformer, 1 to the side of its patches; "
            f"found {stride} for {name}"
        )
    stem = network.patch_embed
    grid = [(side - patch) // stride + 1 for side, patch in zip(stem.img_size, stem.patch_size, strict=True)]
    resampled = resample_abs_pos_embed(
        network.pos_embed.detach(), new_size=grid, old_size=known.grid, num_prefix_tokens=known.prefix
    )
    network.pos_embed = nn.Parameter(resampled)
    stem.proj.stride, stem.grid_size, stem.num_patches = (stride, stride), tuple(grid), grid[0] * grid[1]


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


def _channels_first(
    _network: nn.Module, _inputs: object, features: Float[Tensor, "b h w d"]
) -> Float[Tensor, "b d h w"]:
    return features.permute(0, 3, 1, 2)
