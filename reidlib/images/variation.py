"""What varies in a training image, and the random choices of a batch, drawn before any pixel is touched."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ATTEMPTS = 10  # boxes tried before an image stays whole, as in torchvision's RandomErasing


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training batch is varied; the values are those of the field's cluster-contrast recipes.

    Attributes:
        flip: probability of a mirrored image, 0..1.
        pad: black border in pixels from which the crop of the image's own size is taken.
        erase: probability of a random box being erased, 0..1 [Zhong et al., AAAI 2020, arXiv:1708.04896].
        erase_area: smallest and largest share of the image that the box covers.
        erase_aspect: smallest and largest height / width of the box.
        erase_fill: "mean" erases to the mean colour (0 after normalisation), "zero" to black.
        gain: levels are multiplied by 1 + u, u uniform in ±gain.
        offset: levels are shifted by 255 u, u uniform in ±offset.
        jitter: "channel" draws gain and offset for each colour (white balance), "overall" for the image (exposure).
        mean: of the red, green and blue levels, 0..1.
        std: of them.
    """

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 3.33)
    erase_fill: Literal["mean", "zero"] = "mean"
    gain: float = 0.0
    offset: float = 0.0
    jitter: Literal["channel", "overall"] = "channel"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("flip", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Augmentation.{name}: expected a probability 0..1, got {getattr(self, name)}")
        for name in ("pad", "offset", "gain"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Augmentation.{name}: expected at least 0, got {getattr(self, name)}")
        for name, most in (("erase_area", 1.0), ("erase_aspect", np.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ValueError(f"Augmentation.{name}: expected 0 < low <= high <= {most}, got {(low, high)}")
        for name, allowed in (("erase_fill", ("mean", "zero")), ("jitter", ("channel", "overall"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"Augmentation.{name}: expected one of {allowed}, got {getattr(self, name)!r}")
        check_statistics(self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random choices of one batch of b images (see `Augmentation` for their meaning).

    Attributes:
        flip: whether an image is mirrored.
        top: first row of the crop in the padded image, 0..2 * pad.
        left: first column of it.
        erase: top, left, height, width of the erased box in the crop; height 0 where nothing is erased.
        gain: factor of each colour's levels.
        offset: levels added to each colour, in units of 1/255.
    """

    flip: Bool[np.ndarray, "b"]
    top: Int32[np.ndarray, "b"]
    left: Int32[np.ndarray, "b"]
    erase: Int32[np.ndarray, "b 4"]
    gain: Float32[np.ndarray, "b 3"]
    offset: Float32[np.ndarray, "b 3"]


def draw(generator: np.random.Generator, count: int, *, height: int, width: int, settings: Augmentation) -> Draws:
    """Draw the random choices of `count` images of height × width pixels.

    The generator advances equally whatever the settings, so that switching one variation off leaves the others' draws
    as they were. Erased boxes follow torchvision's RandomErasing: ten tries at an area and an aspect (log-uniform),
    the first box that is smaller than the image in both directions is used.
    """
    uniform = generator.random((count, 5))
    levels = generator.uniform(-1, 1, (2, count, 3)).astype(np.float32)
    if settings.jitter == "overall":
        levels[:] = levels[:, :, :1]
    boxes = generator.random((count, ATTEMPTS, 2))
    border = 2 * settings.pad + 1
    return Draws(
        flip=uniform[:, 0] < settings.flip,
        top=np.floor(uniform[:, 1] * border).astype(np.int32),
        left=np.floor(uniform[:, 2] * border).astype(np.int32),
        erase=_boxes(boxes, uniform[:, 3:], generator.random(count) < settings.erase, height, width, settings),
        gain=1 + np.float32(settings.gain) * levels[0],
        offset=np.float32(255 * settings.offset) * levels[1],
    )


def _boxes(
    tries: Float[np.ndarray, "b tries 2"],
    places: Float[np.ndarray, "b 2"],
    wanted: Bool[np.ndarray, "b"],
    height: int,
    width: int,
    settings: Augmentation,
) -> Int32[np.ndarray, "b 4"]:
    low, high = settings.erase_area
    area = height * width * (low + (high - low) * tries[:, :, 0])
    log_low, log_high = np.log(settings.erase_aspect)
    aspect = np.exp(log_low + (log_high - log_low) * tries[:, :, 1])
    sizes = np.stack([np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))], axis=2)
    fits: np.ndarray = np.all((sizes > 0) & (sizes < np.array([height, width])), axis=2)
    size = np.take_along_axis(sizes, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    place = np.floor(places * (np.array([height, width]) - size + 1))
    box = np.concatenate([place, size], axis=1)
    box[~(wanted & fits.any(axis=1))] = 0
    return box.astype(np.int32)


def check_statistics(mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
    """Refuse a normalisation that is not three finite means and three positive deviations."""
    if len(mean) != 3 or len(std) != 3 or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError(f"expected mean: 3 finite numbers, std: 3 positive numbers; got mean {mean}, std {std}")
