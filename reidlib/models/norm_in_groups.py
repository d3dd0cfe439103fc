"""Batch normalisation of every group of a batch: each is read where it lies and written to its place in the result.

Own code, since the obvious way, splitting the batch and joining what `functional.batch_norm` makes of the parts, reads
and writes the whole result a second time on the way forth and the whole gradient on the way back. On a GPU the kernels
are our own too (`reidlib.models.norm_kernels`), on a CPU torch's.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class InGroups(NamedTuple):
    """Groups that were normalised, and the statistics of each."""

    normalised: Float[Tensor, "b channels *positions"]
    means: Float[Tensor, "groups channels"]
    variances: Float[Tensor, "groups channels"]


def normalise_groups(
    features: Float[Tensor, "b channels *positions"],
    weight: Float[Tensor, "channels"],
    bias: Float[Tensor, "channels"],
    *,
    group: int,
    eps: float,
) -> InGroups:
    """Normalise each `group` successive samples by their own statistics, as training batch normalisation does.

    Differentiable once, in features, weight and bias; the statistics (variances unbiased) carry no gradient.

    Args:
        features: of any float type that batch normalisation takes beside the weight's (bfloat16 beside float32, say);
            the result has its type and memory format.
        weight: factor of each channel; the statistics have its type.
        bias: added to each channel.
        group: samples to a group; divides the batch.
        eps: added to the variances.

    Raises:
        ValueError: one value to a channel in a group, which has no variance.
    """
    if features[:group].numel() == features.shape[1]:
        raise ValueError(
            f"batch normalisation: expected more than one value to a channel in each group of {group}, got features of "
            f"shape {tuple(features.shape)}; raise model.batch_norm_group"
        )
    dense = [torch.contiguous_format, *[torch.channels_last] * (features.dim() == 4)]
    if not any(features.is_contiguous(memory_format=order) for order in dense):
        features = features.contiguous()  # to results in any other order the kernels write wrong numbers
    rows_of_channels = features.dim() in (2, 4) and features.is_contiguous(memory_format=dense[-1])
    small = features.dtype.itemsize <= weight.dtype.itemsize == 4
    ours = features.is_cuda and rows_of_channels and small and kernels_agree(features.device)
    return InGroups(*(_NormaliseByKernels if ours else _NormaliseGroups).apply(features, weight, bias, group, eps))


@cache
def kernels_agree(device: torch.device) -> bool:
    """Return whether the kernels of our own run on a device and give there what torch's give, on a small batch.

    They are compiled where they run, by Triton and a C compiler, neither of which is everywhere. Where they cannot be
    used, torch's do the work, slower, and that is said; it is asked once of a device.
    """
    values = torch.arange(8 * 32 * 6, dtype=torch.float32, device=device)
    weight, bias = values[:32] + 1, values[:32]
    try:
        for precision, close in ((torch.float32, 1e-3), (torch.bfloat16, 5e-2)):
            features = values.sin().to(precision).view(8, 3, 2, 32).permute(0, 3, 1, 2)
            found = []
            for function in (_NormaliseGroups, _NormaliseByKernels):
                given = [each.clone().requires_grad_() for each in (features, weight, bias)]
                with torch.enable_grad():
                    normalised, *statistics = function.apply(*given, 4, 1e-5)
                gradients = torch.autograd.grad(normalised, given, features.cos())
                found.append([each.float() for each in (normalised, *statistics, *gradients)])
            if not all(torch.allclose(one, other, rtol=close, atol=close) for one, other in zip(*found, strict=True)):
                raise ArithmeticError("they give other numbers than torch's")
    except Exception as error:  # whatever a compiler or a driver raises
        why = str(error).partition("\n")[0]
        print(
            f"batch norm in groups goes without kernels of our own, slower: {type(error).__name__}: {why}", flush=True
        )
        return False
    return True


class _NormaliseByKernels(torch.autograd.Function):
    """Kernels of our own, for a GPU."""

    @staticmethod
    def forward(
        context: Any, features: Tensor, weight: Tensor, bias: Tensor, group: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised groups, their means and unbiased variances."""
        from reidlib.models import norm_kernels  # where there is a GPU

        normalised, moments = norm_kernels.normalise(features, weight, bias, group=group, eps=eps)
        context.save_for_backward(features, moments, weight)
        context.group = group
        means, variances, _ = moments.unbind(1)
        context.mark_non_differentiable(means, variances)
        return normalised, means, variances

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of features, weight and bias."""
        from reidlib.models import norm_kernels

        features, *others = context.saved_tensors
        like = torch.channels_last if features.dim() == 4 else torch.contiguous_format
        laid_out = gradient.contiguous(memory_format=like)
        found = norm_kernels.gradients(laid_out, features, *others, group=context.group)
        wanted = zip(found, context.needs_input_grad[:3], strict=True)
        return *(value if want else None for value, want in wanted), None, None


class _NormaliseGroups(torch.autograd.Function):
    """The kernels of batch normalisation, called on slices; those of the way back take no place to write to."""

    @staticmethod
    def forward(
        context: Any, features: Tensor, weight: Tensor, bias: Tensor, group: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised groups, their means and unbiased variances."""
        shape = (len(features) // group, features.shape[1])
        means, variances, saved_means, saved_scales = torch.zeros((4, *shape), dtype=weight.dtype, device=weight.device)
        normalised = torch.empty_like(features)
        for number, (part, place) in enumerate(
            zip(torch.split(features, group), torch.split(normalised, group), strict=True)
        ):
            running, out = (means[number], variances[number]), (place, saved_means[number], saved_scales[number])
            torch.native_batch_norm(part, weight, bias, *running, True, 1.0, eps, out=out)  # momentum 1: its own
        context.save_for_backward(features, weight, saved_means, saved_scales)
        context.group, context.eps = group, eps
        context.mark_non_differentiable(means, variances)
        return normalised, means, variances

    @staticmethod
    @once_differentiable
    def backward(
        context: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Return the gradients of features, weight and bias."""
        features, weight, *saved = context.saved_tensors
        wanted = list(context.needs_input_grad[:3])
        whole = torch.empty_like(features) if wanted[0] else None
        sums = [torch.zeros_like(weight) if want else None for want in wanted[1:]]
        parts = zip(torch.split(gradient, context.group), torch.split(features, context.group), *saved, strict=True)
        for number, (given, part, mean, scale) in enumerate(parts):
            own, *others = torch.ops.aten.native_batch_norm_backward(
                given, part, weight, None, None, mean, scale, True, context.eps, wanted
            )
            if whole is not None:
                whole[number * context.group : (number + 1) * context.group] = own
            for total, other in zip(sums, others, strict=True):
                if total is not None:
                    total += other
        return whole, sums[0], sums[1], None, None
