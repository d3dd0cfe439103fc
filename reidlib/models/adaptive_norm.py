"""AIBN: normalisation by a learnt mix of each image's own statistics and those of the batch."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.grouped_norm import GroupedBatchNorm, SumOverRanks


class AdaptiveNorm(GroupedBatchNorm):
    """Adaptive instance and batch normalisation [Xuan & Zhang, CVPR 2021, arXiv:2103.11658].

    mean = (1 - mix) × instance mean + mix × batch mean, the variance alike, with a trained mix, clamped to [0, 1].
    The statistics of the batch are those of a `GroupedBatchNorm`, over several processes too; in evaluation the running
    ones. State dicts hold the names of nn.BatchNorm2d and `mix`.

    Deviations: a mix for each layer, where the published code shares one among the layers of a block; biased variances
    of instances, which a map of one position has too. All in float32 inside autocast too.
    """

    def __init__(
        self, num_features: int, *, group: int, eps: float = 1e-5, momentum: float = 0.1, mix: float = 0.1
    ) -> None:
        """Start with this share of the batch's statistics.

        Raises:
            ValueError: a mix that is not in [0, 1].
        """
        super().__init__(num_features, group=group, eps=eps, momentum=momentum)
        if not 0 <= mix <= 1:
            raise ValueError(f"AdaptiveNorm: expected a mix of 0 to 1, got {mix}")
        self.mix = nn.Parameter(torch.tensor([mix]))

    def _normalise(self, features: Tensor) -> Tensor:
        self._check_input_dim(features)
        with torch.autocast(features.device.type, enabled=False):
            values = features.to(torch.promote_types(features.dtype, torch.float32))
            variances, means = torch.var_mean(values, dim=(2, 3), correction=0)
            batch_mean, batch_variance = self._batch(means, variances, int(values[0, 0].numel()))
            mix = self.mix.clamp(0, 1)
            mean = torch.lerp(means, batch_mean, mix)
            variance = torch.lerp(variances, batch_variance, mix)
            scale = self.weight * torch.rsqrt(variance + self.eps)
            normalised = (values - mean[:, :, None, None]) * scale[:, :, None, None] + self.bias[:, None, None]
        return normalised.to(features.dtype)

    def _batch(
        self, means: Float[Tensor, "b channels"], variances: Float[Tensor, "b channels"], positions: int
    ) -> tuple[Float[Tensor, "b channels"], Float[Tensor, "b channels"]]:
        """Return for every image mean and variance of its group; in training, advance the running ones."""
        if not self.training:
            return self.running_mean.expand_as(means), self.running_var.expand_as(means)
        group = self._group_of(len(means))
        length, spanned = min(group, len(means)), max(1, group // len(means))
        means, variances = (value.view(-1, length, value.shape[1]) for value in (means, variances))
        mean = self._over_ranks(means.mean(dim=1), spanned)
        variance = self._over_ranks((variances + (means - mean[:, None]).square()).mean(dim=1), spanned)
        count = length * spanned * positions
        self._advance(mean.detach().mean(dim=0), variance.detach().mean(dim=0) * count / max(count - 1, 1))
        return mean.repeat_interleave(length, dim=0), variance.repeat_interleave(length, dim=0)

    def _over_ranks(self, value: Tensor, spanned: int) -> Any:
        return value if spanned == 1 else SumOverRanks.apply(value, self.ranks.block(spanned)) / spanned

    def _check_input_dim(self, features: Tensor) -> None:
        if features.dim() != 4:
            raise ValueError(f"AdaptiveNorm: expected (b, channels, height, width), got shape {tuple(features.shape)}")


def adapt_norms(backbone: nn.Module, *, group: int, stages: Sequence[str] = ("layer3", "layer4")) -> nn.Module:
    """Replace every nn.BatchNorm2d in some stages by an `AdaptiveNorm` with its parameters; return the backbone.

    To be called before `group_norms`, for the others.

    Args:
        backbone: changed in place.
        group: samples that share statistics of the batch.
        stages: paths of modules, of a ResNet's last two stages as published; "" is the whole backbone.

    Raises:
        ValueError: for a stage that is not there, or has no such norm.
    """
    for stage in stages:
        paths = dict(backbone.named_modules())
        inside = [f"{stage}.{name}".strip(".") for name, _ in paths.get(stage, nn.Identity()).named_modules()]
        norms = [path for path in inside if isinstance(paths.get(path), nn.BatchNorm2d)]
        if not norms:
            raise ValueError(
                f"model.normalisation: aibn takes the place of the batch norms in {', '.join(stages)}, and this "
                f"backbone has none in {stage or 'it'}; choose a ResNet, or batch"
            )
        for path in norms:
            parent, _, name = path.rpartition(".")
            setattr(backbone.get_submodule(parent), name, AdaptiveNorm.like(paths[path], name=path, group=group))
            backbone.added_prefixes = (*getattr(backbone, "added_prefixes", ()), f"{path}.mix")  # type: ignore[assignment]
    return backbone
