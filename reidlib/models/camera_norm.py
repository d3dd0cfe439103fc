"""TNorm: the style of one camera exchanged for another's, by statistics of feature maps kept for each camera."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn

from reidlib.models.attention import append_to_stage


class CameraNorm(nn.Module):
    """Transform normalisation [Xuan & Zhang, TPAMI 2022]: (x - mean) / std of the source × std + mean of the target.

    In training, a pass with cameras and nothing to convert advances each camera's running mean and variance of the
    maps, over the whole batch where several processes share it, and returns the maps as they are; so does every pass
    without cameras. Nothing is differentiated through the statistics.

    A camera's first batch sets its statistics instead of advancing them, and an image stays as it is where its own
    camera or the other has none yet; the paper says nothing of it.

    Attributes:
        mean: of each camera's maps.
        variance: likewise, biased.
        seen: whether a camera has statistics.
        cameras: of the next batch; None: pass it on as it is.
        convert_to: the cameras whose style its images take on; None: their own, and learn the statistics.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, channels: int, cameras: int, *, momentum: float = 0.9, eps: float = 1e-5) -> None:
        """Start with no statistics; `momentum` is the share of the old ones in each update."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(cameras, channels))
        self.register_buffer("variance", torch.ones(cameras, channels))
        self.register_buffer("seen", torch.zeros(cameras, dtype=torch.bool))
        self.momentum, self.eps = momentum, eps
        self.cameras: Tensor | None = None
        self.convert_to: Tensor | None = None

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return the maps, converted where the cameras to convert to are other than their own."""
        if self.cameras is None:
            return features
        if len(self.cameras) != len(features):
            raise ValueError(
                f"CameraNorm: expected {len(features)} cameras, one to an image; found {len(self.cameras)}"
            )
        with torch.autocast(features.device.type, enabled=False):
            if self.convert_to is not None:
                return self._convert(features, self.cameras, self.convert_to)
            if self.training:
                self._learn(features, self.cameras)
        return features

    def _convert(self, features: Tensor, source: Tensor, target: Tensor) -> Tensor:
        deviation = (self.variance + self.eps).sqrt()
        scale = deviation[target] / deviation[source]
        shift = self.mean[target] - self.mean[source] * scale
        other = ((source != target) & self.seen[source] & self.seen[target])[:, None, None, None]
        converted = features * scale[:, :, None, None] + shift[:, :, None, None]
        return torch.where(other, converted.to(features.dtype), features)

    @torch.no_grad()
    def _learn(self, features: Tensor, cameras: Tensor) -> None:
        """Advance the statistics of the cameras in the batch; sums in float64, where squares do not cancel."""
        members = torch.eye(len(self.seen), dtype=torch.float64, device=features.device)[:, cameras]
        variances, means = torch.var_mean(features.float(), dim=(2, 3), correction=0)
        means, variances = means.double(), variances.double()
        ones = torch.ones_like(means[:, :1])
        sums = members @ torch.cat([ones, means, variances + means.square()], dim=1)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        counts, sums = sums[:, :1], sums[:, 1:]
        mean, square = (sums / counts.clamp(min=1)).chunk(2, dim=1)
        present = counts > 0
        share = torch.where(self.seen[:, None], 1 - self.momentum, 1.0) * present
        for kept, new in ((self.mean, mean), (self.variance, (square - mean.square()).clamp(min=0))):
            kept.lerp_(new.to(kept.dtype), share.to(kept.dtype))
        self.seen |= present[:, 0]


def add_camera_norm(backbone: nn.Module, *, after: str, cameras: int) -> None:
    """Put a `CameraNorm` for so many cameras behind a stage of a backbone; see `append_to_stage`."""
    append_to_stage(backbone, after, lambda channels: CameraNorm(channels, cameras))


def set_cameras(
    network: nn.Module, cameras: Int64[Tensor, "b"] | None, convert_to: Int64[Tensor, "b"] | None = None
) -> None:
    """Tell every `CameraNorm` of a network the cameras of the next batches, and those to convert it to.

    Raises:
        ValueError: for cameras that a norm keeps no statistics of.
    """
    for module in network.modules():
        if isinstance(module, CameraNorm):
            for given in (cameras, convert_to):
                if given is not None and not 0 <= int(given.min()) <= int(given.max()) < len(module.seen):
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
