"""Backbones by name: each turns (b, 3, H, W) into a feature map (b, d, h, w)."""

from collections.abc import Callable, Mapping

from torch import nn

from reidlib.models.ibn import ibn_a


def _resnet18() -> nn.Module:
    import timm

    return timm.create_model("resnet18", pretrained=False, num_classes=0, global_pool="")


def _resnet18_half() -> nn.Module:
    """Return a ResNet-18 of half width (2.8 M parameters): the demo's network, sized for a CPU."""
    from timm.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [2, 2, 2, 2], channels=(32, 64, 128, 256), num_classes=0, global_pool="")


def _resnet50() -> nn.Module:
    import timm

    return timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="")


def _resnet50_ibn_a() -> nn.Module:
    return ibn_a(_resnet50())


BACKBONES: Mapping[str, Callable[[], nn.Module]] = {
    "resnet18": _resnet18,
    "resnet18_half": _resnet18_half,
    "resnet50": _resnet50,
    "resnet50_ibn_a": _resnet50_ibn_a,
}

# The ImageNet weights of each backbone on timm's hub: the torchvision ones where there are several, as the papers use.
IMAGENET: Mapping[str, str] = {"resnet18": "resnet18.tv_in1k", "resnet50": "resnet50.tv_in1k"}


def backbone(name: str, *, last_stride: int) -> nn.Module:
    """Build a backbone with random weights.

    Args:
        name: a key of `BACKBONES`.
        last_stride: 2 (as for classification) or 1, which doubles the height and width of the feature map; usual in
            re-identification [Sun et al., ECCV 2018, arXiv:1711.09349]. The weights are the same either way.

    Raises:
        ValueError: for an unknown name, with the known ones.
    """
    if name not in BACKBONES:
        raise ValueError(f"model.backbone: expected one of {', '.join(sorted(BACKBONES))}; found {name!r}")
    if last_stride not in (1, 2):
        raise ValueError(f"model.last_stride: expected 1 or 2, found {last_stride}")
    network = BACKBONES[name]()
    if last_stride == 1:
        _keep_resolution(network)
    return network


def _keep_resolution(network: nn.Module) -> None:
    """Set the stride of a ResNet's last stage to 1 (timm's `output_stride` would also dilate its convolutions)."""
    for module in network.get_submodule("layer4.0").modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
