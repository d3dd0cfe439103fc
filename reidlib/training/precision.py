"""How the network is run: in float32 or bfloat16."""

from typing import Any, Literal

import torch
from torch import nn

from reidlib.models.embedder import Embedder
from reidlib.training.plan import Precision

NARROW = 2  # columns of features, up to which strided convolutions of a CPU in bfloat16 are wrong


def usable_precision(
    asked: Precision, model: Embedder, device: torch.device, *, size_px: tuple[int, int]
) -> Literal["fp32", "bf16"]:
    """Return the precision that was asked for, or the faster one; float32 where bfloat16 would be wrong.

    That is on a CPU, for images so narrow that a convolution of several columns and a stride has two or fewer before
    it (torch 2.15's oneDNN multiplies memory that nobody wrote by zero, which is not a number where that is none).

    Args:
        asked: fp32, bf16 or auto.
        model: in whatever mode, which it keeps.
        device: where it is.
        size_px: height and width of the images.
    """
    found = faster_precision(model, device) if asked == "auto" else asked
    return "fp32" if found == "bf16" and device.type == "cpu" and _too_narrow(model, size_px) else found


@torch.inference_mode()
def _too_narrow(model: Embedder, size_px: tuple[int, int]) -> bool:
    """Embed an image of zeros, and look at what comes before the strided convolutions."""
    narrow = []

    def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        narrow.append(inputs[0].shape[3] <= NARROW)

    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    strided = [part for part in convolutions if part.stride[1] > 1 and part.kernel_size[1] > 1]
    hooks, training = [part.register_forward_pre_hook(look) for part in strided], model.training
    model.eval()
    model(torch.zeros(1, 3, *size_px))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return any(narrow)


def faster_precision(model: nn.Module, device: torch.device) -> Literal["fp32", "bf16"]:
    """Return bfloat16 where the device multiplies it in hardware and the network is not made of depthwise convolutions.

    Told by what device and network are, not by a clock: a choice that hung on what else the machine is doing would make
    two runs of one seed differ. That it is the faster one is what `benchmarks.step` measures: on a CPU with AVX-512
    bfloat16 ResNets train about twice as fast, and networks of depthwise convolutions slower.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and device.type == "cpu":
            return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
