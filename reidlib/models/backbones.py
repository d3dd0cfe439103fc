"""Backbones by name: each turns (b, 3, H, W) into a feature map (b, d, h, w), a vision transformer into tokens."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.gam import gam
from reidlib.models.ibn import ibn_a, ibn_b
from reidlib.models.lightmbn import LightMBN
from reidlib.models.osnet import osnet
from reidlib.models.vision_transformer import convolution_stem, join_projection, overlap

# Short names of timm's networks, with the ImageNet weights that the papers start from where there are several.
TIMM: Mapping[str, str] = {
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "vit_small": "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_base": "vit_base_patch16_224.augreg_in21k_ft_in1k",
    "clip_vit_base": "vit_base_patch16_clip_quickgelu_224.openai",
}

# By the end of the name.
FORMS: Mapping[str, Callable[[nn.Module], nn.Module]] = {"_ibn_a": ibn_a, "_ibn_b": ibn_b, "_ics": convolution_stem}
PROJECTED = "_projected"  # which keeps the names that weights have on timm's hub


def resnet18_half(*, drop_path: float = 0.0) -> nn.Module:
    """Build a ResNet-18 of half width, of 2.8 M parameters, sized for a CPU."""
    from timm.models.resnet import BasicBlock, ResNet

    channels, depths = (32, 64, 128, 256), [2, 2, 2, 2]
    return ResNet(BasicBlock, depths, channels=channels, num_classes=0, global_pool="", drop_path_rate=drop_path)


# Each has the width of its output as `head_hidden_size`, and a parameter `drop_path` where it has a use for it.
BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet18_half": resnet18_half,
    "osnet_x1_0": osnet,
    "osnet_x0_75": partial(osnet, width=0.75),
    "osnet_x0_5": partial(osnet, width=0.5),
    "osnet_x0_25": partial(osnet, width=0.25),
    "osnet_ain_x1_0": partial(osnet, adaptive=True),
    "osnet_ain_x0_75": partial(osnet, width=0.75, adaptive=True),
    "osnet_ain_x0_5": partial(osnet, width=0.5, adaptive=True),
    "osnet_ain_x0_25": partial(osnet, width=0.25, adaptive=True),
    "lightmbn": LightMBN,
    "lightmbn_x0_25": partial(LightMBN, width=0.25),
    "lightmbn_averages": partial(LightMBN, averages=True),
    "lightmbn_averages_x0_25": partial(LightMBN, width=0.25, averages=True),
    "gam": gam,
    "gam_half": partial(gam, half=True),
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
        name: a key of `BUILDERS` or `TIMM`, or any network of timm as `timm/<name>`; followed by `_ibn_a` or `_ibn_b`
            a ResNet with instance norms, by `_ics` a vision transformer with a stem of convolutions, by `_projected`
            one of CLIP with its projection.
        last_stride: 2 (as for classification) or 1, which doubles the height and width of a ResNet's feature map;
            usual in re-identification [Sun et al., ECCV 2018, arXiv:1711.09349]. The weights are the same either way.
        size_px: height and width of the images, which transformers need and others do not ask.
        patch_stride: step between the patches of a vision transformer; None: side by side. Below their side they
            overlap, as in TransReID [He et al., ICCV 2021, arXiv:2102.04378]: 12 for patches of 16.
        drop_path: probability of leaving out a residual branch in training, rising linearly to this in the last block.
        pretrained: fetch timm's weights.

    Returns:
        The network, and the d of what it returns: (b, d, h, w); tokens (b, n, d) where it has a class token; or, of a
        branched network, `parts` vectors (b, parts, d).

    Raises:
        ValueError: for an unknown name, or a value that the network has no use for.
    """
    form = next((ending for ending in FORMS if name.endswith(ending)), "")
    network = _plain(name.removesuffix(form), size_px=size_px, drop_path=drop_path, pretrained=pretrained)
    if form:
        FORMS[form](network)
    if last_stride == 1:
        _keep_resolution(network, name)
    if patch_stride is not None:
        overlap(network, name, patch_stride)
    if getattr(network, "output_fmt", "NCHW") == "NHWC":
        network.register_forward_hook(_channels_first)
    return network, network.head_hidden_size


def timm_name(name: str) -> str | None:
    """Return what timm calls a backbone that has weights there, None for others."""
    plain = name.removesuffix(PROJECTED)
    known = TIMM.get(plain, plain.removeprefix("timm/"))
    return known if known != plain and not name.endswith(tuple(FORMS)) else None


def _plain(name: str, *, size_px: tuple[int, int] | None, drop_path: float, pretrained: bool) -> Any:
    if name in BUILDERS:
        if drop_path and "drop_path" not in inspect.signature(BUILDERS[name]).parameters:
            raise ValueError(f"model.drop_path={drop_path}: {name} leaves no branches out; set 0")
        return BUILDERS[name](**({"drop_path": drop_path} if drop_path else {}))
    import timm

    options: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    if name.endswith(PROJECTED):
        del options["num_classes"]
    if drop_path:
        options["drop_path_rate"] = drop_path
    theirs = timm_name(name)
    if theirs is None or not timm.is_model(theirs):
        raise ValueError(
            f"model.backbone: expected {', '.join(sorted([*BUILDERS, *TIMM]))} or timm/<a name of timm.list_models()>, "
            f"with or without {', '.join([*FORMS, PROJECTED])}; found {name!r}"
        )
    if timm.get_pretrained_cfg(theirs).fixed_input_size:
        if size_px is None:
            raise ValueError(f"model.height_px, model.width_px: {name} is built for one size of image; set both")
        options["img_size"] = size_px
    try:
        network = timm.create_model(theirs, pretrained=pretrained, **options)
    except (AssertionError, TypeError) as error:  # distilled transformers, CrossViT, Inception-v3
        raise ValueError(f"model.backbone={name}: its head cannot be taken off ({error}); choose another") from error
    if name.endswith(PROJECTED):
        join_projection(network)
    if not hasattr(network, "layer4"):
        _check_features(network, name, size_px)
    return network


@torch.inference_mode()
def _check_features(network: Any, name: str, size_px: tuple[int, int] | None) -> None:
    """Refuse a network of timm that takes no such image, or returns neither a map nor tokens with a class token."""
    height, width = size_px or (256, 128)
    training = network.training
    try:
        shape = network.eval()(torch.zeros(1, 3, height, width)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"model.backbone={name}: takes no images of {height} x {width} pixels ({error}); set others by "
            "model.height_px and model.width_px, or choose another"
        ) from error
    network.train(training)
    channels = shape[-1 if getattr(network, "output_fmt", "NCHW") == "NHWC" or len(shape) == 3 else 1]
    known = len(shape) == 4 or (len(shape) == 3 and getattr(network, "cls_token", None) is not None)
    if not known or channels != network.head_hidden_size:
        raise ValueError(
            f"model.backbone={name}: expected a map of features, or tokens with a class token, of width "
            f"{network.head_hidden_size}; found {tuple(shape)}; choose another"
        )


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


def _channels_first(
    _network: nn.Module, _inputs: object, features: Float[Tensor, "b h w d"]
) -> Float[Tensor, "b d h w"]:
    return features.permute(0, 3, 1, 2)
