"""How the network is run: in float32 or bfloat16."""

from typing import Literal

import torch
from torch import nn


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
