"""Batch normalisation over groups of a fixed number of samples, whatever the number of devices."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from reidlib.models.norm_in_groups import normalise_groups


class _Ranks:
    """The processes that share a batch, and the process groups of blocks of neighbouring ones."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._blocks: dict[int, distributed.ProcessGroup] = {}

    def block(self, length: int) -> distributed.ProcessGroup:
        """Return the group of this process's block of `length` ranks; every process must ask at the same time.

        A group of its own, apart from the one that averages gradients, so that the two cannot get into each other's
        order.
        """
        if length not in self._blocks:
            for start in range(0, self.size, length):
                group = distributed.new_group(list(range(start, start + length)))
                if start <= self.rank < start + length and isinstance(group, distributed.ProcessGroup):
                    self._blocks[length] = group
        return self._blocks[length]


class SumOverRanks(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor, group: distributed.ProcessGroup) -> Tensor:
        """Return the sum of what the processes of a group give."""
        context.group = group
        total = values.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the sum of the gradients."""
        total = gradient.contiguous().clone()
        distributed.all_reduce(total, group=context.group)
        return total, None


class GroupedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose statistics are taken per `group` successive samples, however large the batch.

    The published recipes were tuned with a batch of 256 split over four GPUs, thus with statistics of 64 samples; the
    same recipe with statistics of 16 loses over twenty points of mAP. A batch of up to `group` samples is one group; a
    larger one that is not made of whole groups (images of 15 cameras, say) is split into equal ones a little smaller.

    The running statistics advance once per batch, with the usual momentum, towards the mean over the groups of their
    means and (unbiased) variances; for one group this is plain batch normalisation, bit for bit. Parameters and
    buffers are named as in nn.BatchNorm2d, so state dicts pass between the two; evaluation is the same.

    Where several processes share a batch (`synchronise_norms`), a group that is larger than a process's part of the
    batch spans the processes beside it, and the running statistics are those of the whole batch on every process.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, num_features: int, *, group: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        """Start like nn.BatchNorm2d."""
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.group = group
        self.ranks = _Ranks()
        self.after: nn.Module = nn.Identity()

    @classmethod
    def like(cls, norm: Any, *, name: str, group: int) -> "GroupedBatchNorm":
        """Return one with the parameters and buffers of a batch norm, and what that does behind it.

        Raises:
            ValueError: naming a norm without parameters, running statistics or momentum.
        """
        if not norm.affine or norm.running_mean is None or norm.momentum is None:
            raise ValueError(f"batch_norm_group: expected {name!r} with parameters, running statistics and a momentum")
        grouped = cls(norm.num_features, group=group, eps=norm.eps, momentum=norm.momentum)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(grouped, part, getattr(norm, part))
        if hasattr(norm, "act"):
            grouped.after = nn.Sequential(norm.drop, norm.act)
        return grouped.to(norm.weight.device).train(norm.training)

    def forward(self, features: Float[Tensor, "b channels *positions"]) -> Float[Tensor, "b channels *positions"]:
        """Normalise, and pass on through `after`.

        Raises:
            ValueError: a training batch that cannot be split into equal groups of at most `group` samples and more than
                half of that, each of which is whole parts of the processes or divides one.
        """
        return self.after(self._normalise(features))

    def _normalise(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        group = self._group_of(len(features))
        if group > len(features):
            return self._normalise_together(features, group // len(features))
        if self.ranks.size == 1 and len(features) <= self.group:
            return super().forward(features)
        found = normalise_groups(features, self.weight, self.bias, group=group, eps=self.eps)
        self._advance(found.means.mean(dim=0), found.variances.mean(dim=0))
        return found.normalised

    def _group_of(self, part: int) -> int:
        """Return how many samples share statistics, where each process holds `part` samples of the batch."""
        whole = part * self.ranks.size
        most = min(self.group, whole)
        for group in range(most, most // 2, -1):
            if whole % group == 0 and (part % group == 0 or group % part == 0):
                return group
        raise ValueError(
            f"model.batch_norm_group: expected a batch of whole groups of {self.group} samples, or of equal ones of "
            f"more than half of that, got {whole} samples on {self.ranks.size} processes; choose a group that divides "
            "the batch (clusters_per_batch * images_per_cluster), and a process's part of it or the other way round"
        )

    def _normalise_together(self, features: Tensor, spanned: int) -> Tensor:
        """Normalise by the statistics of this process's samples and those of the `spanned` processes in its group."""
        others, values = self.ranks.block(spanned), features.float()
        over = [axis for axis in range(features.dim()) if axis != 1]
        shape = [1, -1] + [1] * (features.dim() - 2)
        mean = SumOverRanks.apply(values.mean(over), others) / spanned
        centred = values - mean.view(shape)
        variance = SumOverRanks.apply((centred * centred).mean(over), others) / spanned
        count = spanned * features.numel() // features.shape[1]
        self._advance(mean.detach(), variance.detach() * count / max(count - 1, 1))
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        return (normalised * self.weight.view(shape) + self.bias.view(shape)).to(features.dtype)

    @torch.no_grad()
    def _advance(self, mean: Float[Tensor, "channels"], variance: Float[Tensor, "channels"]) -> None:
        if self.ranks.size > 1:  # equal parts: the mean over the processes is that over the batch
            both = torch.stack([mean, variance])
            distributed.all_reduce(both)
            mean, variance = both / self.ranks.size
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)

    def _check_input_dim(self, features: Tensor) -> None:
        if features.dim() not in (2, 3, 4):
            raise ValueError(f"GroupedBatchNorm: expected 2 to 4 dimensions, got shape {tuple(features.shape)}")

    def extra_repr(self) -> str:
        """Tell the group beside the rest when printed."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, group={self.group}"


def group_norms(model: nn.Module, *, group: int) -> nn.Module:
    """Replace every nn.BatchNorm1d and 2d inside a model by a grouped one, keeping its parameters; return the model.

    timm's BatchNormAct2d, a batch normalisation with its activation behind it, is replaced likewise (it is known by
    its name: importing timm takes seconds).

    Raises:
        ValueError: a normalisation over the batch of another kind, which would silently keep its own statistics.
    """
    for name, child in model.named_children():
        if type(child).__name__ in ("BatchNorm1d", "BatchNorm2d", "BatchNormAct2d"):
            setattr(model, name, GroupedBatchNorm.like(child, name=name, group=group))
        elif isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, GroupedBatchNorm):
            raise ValueError(f"batch_norm_group: expected BatchNorm1d or 2d, found {type(child).__name__} {name!r}")
        else:
            group_norms(child, group=group)
    return model


def regroup(model: nn.Module, *, group: int) -> None:
    """Let so many samples share statistics in the grouped batch norms of a model from now on."""
    for module in model.modules():
        if isinstance(module, GroupedBatchNorm):
            module.group = group


def synchronise_norms(model: nn.Module, *, rank: int, size: int) -> None:
    """Let the grouped batch norms of a model know that `size` processes share each batch, this one being `rank`."""
    ranks = _Ranks(rank, size)
    for module in model.modules():
        if isinstance(module, GroupedBatchNorm):
            module.ranks = ranks
