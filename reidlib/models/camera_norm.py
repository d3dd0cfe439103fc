"""TNorm: the style of one camera exchanged for another's, by statistics of feature maps kept for each camera."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, distributed, nn

from reidlib.models.attention import append_to_stage

STAY = -1  # in the place of a camera to convert to: pass the image on as it is


class CameraNorm(nn.Module):
    """Transform normalisation [Xuan & Zhang, TPAMI 2022]: (x - mean) / std of the source × std + mean of the target.

    In evaluation, source and target are the running mean and variance of cameras. In training there are two ways.

    By `image`: a pass with cameras and nothing to convert advances each camera's running statistics of the maps, over
    the whole batch where several processes share it, and returns the maps as they are; a pass that converts takes the
    running statistics of both cameras.

    By `batch`, as the published code: every pass with cameras advances their statistics, conversion or not, and the
    source's are those of the batch's own images of that camera; without cameras, those of the whole batch, and nothing
    is learnt. `STAY` in the place of a target leaves an image as it is.

    A pass with neither changes nothing, and nothing is differentiated through statistics. A camera's first batch sets
    its statistics instead of advancing them, and an image stays as it is where its own camera or the other has none
    yet; the paper says nothing of it, and its code starts from mean 0 and variance 1. Variances are biased.

    Attributes:
        mean: of each camera's maps.
        variance: likewise.
        seen: whether a camera has statistics.
        cameras: of the next batch, or None.
        convert_to: the cameras whose style its images take on; None: their own.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(
        self,
        channels: int,
        cameras: int,
        *,
        momentum: float = 0.9,
        eps: float = 1e-5,
        by: Literal["image", "batch"] = "image",
    ) -> None:
        """Start with no statistics; `momentum` is the share of the old ones in each update."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(cameras, channels))
        self.register_buffer("variance", torch.ones(cameras, channels))
        self.register_buffer("seen", torch.zeros(cameras, dtype=torch.bool))
        self.momentum, self.eps, self.by = momentum, eps, by
        self.cameras: Tensor | None = None
        self.convert_to: Tensor | None = None

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return the maps, converted where the cameras to convert to are other than their own."""
        source, target = self.cameras, self.convert_to
        for given in (source, target):
            if given is not None and len(given) != len(features):
                raise ValueError(f"CameraNorm: expected {len(features)} cameras, one to an image; found {len(given)}")
        if source is None and target is None:
            return features
        with torch.autocast(features.device.type, enabled=False):
            if self.training and self.by == "batch":
                return self._by_batch(features, source, target)
            if source is not None and target is not None:
                other = (source != target) & self.seen[source] & self.seen[target]
                return self._convert(features, self.mean[source], self.variance[source], target, other)
            if self.training and source is not None:
                self._advance(*self._of_batch(features, source))
        return features

    def _by_batch(self, features: Tensor, source: Tensor | None, target: Tensor | None) -> Tensor:
        group = torch.zeros(len(features), dtype=torch.int64, device=features.device) if source is None else source
        mean, variance, counts = self._of_batch(features, group)
        converted = features
        if target is not None:
            wanted = target.clamp(min=0)
            other = (target != STAY) & self.seen[wanted]
            own, spread = (value[group].to(self.mean.dtype) for value in (mean, variance))
            converted = self._convert(features, own, spread, wanted, other)
        if source is not None:
            self._advance(mean, variance, counts)
        return converted

    def _convert(self, features: Tensor, mean: Tensor, variance: Tensor, target: Tensor, other: Tensor) -> Tensor:
        """Exchange the statistics of each image, (b, channels), for its target's, where it takes on another style."""
        scale = (self.variance[target] + self.eps).sqrt() / (variance + self.eps).sqrt()
        shift = self.mean[target] - mean * scale
        converted = features * scale[:, :, None, None] + shift[:, :, None, None]
        return torch.where(other[:, None, None, None], converted.to(features.dtype), features)

    @torch.no_grad()
    def _of_batch(
        self, features: Tensor, cameras: Tensor
    ) -> tuple[
        Float64[Tensor, "cameras channels"], Float64[Tensor, "cameras channels"], Float64[Tensor, "cameras one"]
    ]:
        """Return mean, variance and number of each camera's images; sums in float64, where squares do not cancel."""
        members = torch.eye(len(self.seen), dtype=torch.float64, device=features.device)[:, cameras]
        variances, means = torch.var_mean(features.float(), dim=(2, 3), correction=0)
        means, variances = means.double(), variances.double()
        ones = torch.ones_like(means[:, :1])
        sums = members @ torch.cat([ones, means, variances + means.square()], dim=1)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        counts, sums = sums[:, :1], sums[:, 1:]
        mean, square = (sums / counts.clamp(min=1)).chunk(2, dim=1)
        return mean, (square - mean.square()).clamp(min=0), counts

    @torch.no_grad()
    def _advance(self, mean: Tensor, variance: Tensor, counts: Tensor) -> None:
        """Advance the statistics of the cameras in the batch."""
        present = counts > 0
        share = torch.where(self.seen[:, None], 1 - self.momentum, 1.0) * present
        for kept, new in ((self.mean, mean), (self.variance, variance)):
            kept.lerp_(new.to(kept.dtype), share.to(kept.dtype))
        self.seen |= present[:, 0]


def add_camera_norm(backbone: nn.Module, *, after: str, cameras: int, by: Literal["image", "batch"] = "image") -> None:
    """Put a `CameraNorm` for so many cameras behind a stage of a backbone; see `append_to_stage`."""
    append_to_stage(backbone, after, lambda channels: CameraNorm(channels, cameras, by=by))


def set_cameras(
    network: nn.Module, cameras: Int64[Tensor, "b"] | None, convert_to: Int64[Tensor, "b"] | None = None
) -> None:
    """Tell every `CameraNorm` of a network the cameras of the next batches, and those to convert it to.

    Raises:
        ValueError: for cameras that a norm keeps no statistics of.
    """
    for module in network.modules():
        if isinstance(module, CameraNorm):
            lowest = 0 if module.by == "image" else STAY
            for given, least in ((cameras, 0), (convert_to, lowest)):
                if given is not None and not least <= int(given.min()) <= int(given.max()) < len(module.seen):
                    raise ValueError(
                        f"model.cameras: the camera norm was made for cameras 0 to {len(module.seen) - 1}, "
                        f"found {sorted(set(given.tolist()))}; train with the table that the model was made for"
                    )
            module.cameras, module.convert_to = cameras, convert_to


def conversions(cameras: Int64[np.ndarray, "b"], count: int, generator: np.random.Generator) -> Int64[np.ndarray, "b"]:
    """Draw the cameras to convert a batch to: each image's own or, with probability 1/2, one of the others.

    Args:
        cameras: of the images, 0..count-1.
        count: of all cameras.
        generator: of the draws.
    """
    swapped = generator.random(len(cameras)) < 0.5
    step = generator.integers(max(count - 1, 1), size=len(cameras))
    return np.where(swapped, (cameras + 1 + step) % count, cameras)


def batch_conversions(
    cameras: Int64[np.ndarray, "b"] | None, images: int, count: int, generator: np.random.Generator
) -> Int64[np.ndarray, "b"]:
    """Draw the cameras to convert a batch to as the published code of IIDS: images of one camera together, or none.

    With probability 1/2 those of a camera are converted, each to one drawn among all, its own included.

    Args:
        cameras: of the images; None: one draw for them all.
        images: in the batch.
        count: of all cameras.
        generator: of the draws.

    Returns:
        A camera of each image, or `STAY`.
    """
    groups = np.zeros(images, np.int64) if cameras is None else cameras
    swapped = generator.random(count) < 0.5
    return np.where(swapped[groups], generator.integers(count, size=images), STAY)
