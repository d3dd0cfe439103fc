"""How the network is run: in float32 or bfloat16, as it is or compiled."""

import copy
from statistics import median
from time import perf_counter
from typing import Literal

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from reidlib.models.embedder import Embedder

TRIALS = 3
WORTH = 0.95  # bfloat16 must need less than this share of float32's time


def example(images: int, size_px: tuple[int, int], device: torch.device) -> Float32[Tensor, "b 3 h w"]:
    """Return a batch of grey images to try a network on."""
    return torch.zeros(images, 3, *size_px, device=device).to(memory_format=torch.channels_last)


def chosen_precision(model: Embedder, batch: Float32[Tensor, "b 3 h w"]) -> Literal["fp32", "bf16"]:
    """Measure a forward and backward pass in float32 and in bfloat16, in turns, and return the faster.

    Args:
        model: on the device of the batch; left as it is, a copy is run.
        batch: such as training will bring.
    """
    trial, device = copy.deepcopy(model).train(), batch.device
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(1 + TRIALS):
        for low in times:
            began = perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                total = trial(batch).sum()
            torch.autograd.backward(total)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[low].append(perf_counter() - began)
    single, half = (median(times[low][1:]) for low in (False, True))  # the first turn chooses kernels
    return "bf16" if half < WORTH * single else "fp32"


def compiled(network: nn.Module, batch: Float32[Tensor, "b 3 h w"]) -> nn.Module:
    """Return the network compiled by torch.compile, or, with a message, as it is where that fails."""
    try:
        made: nn.Module = torch.compile(network)  # type: ignore[assignment] # what it returns for a module is one
        kept = copy.deepcopy(network.state_dict())
        torch.autograd.backward(made(batch).sum())
        network.load_state_dict(kept)  # the trial moved the running statistics
        network.zero_grad()
    except Exception as error:  # a compiler behind: anything may be missing
        print(f"torch.compile failed ({type(error).__name__}: {str(error).splitlines()[0]}); training goes on without")
        return network
    return made
