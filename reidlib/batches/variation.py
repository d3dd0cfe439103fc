"""What varies in a training image, and the random choices of a batch, drawn before any pixel is touched."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64
from pydantic import Field

from reidlib.settings import NotNegative, Share

Colour = tuple[float, float, float]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ATTEMPTS = 10  # boxes tried before an image stays whole, as in torchvision's RandomErasing
BOX_AREA = (0.02, 0.4)  # smallest and largest share of the image that a random box covers
BOX_ASPECT = (0.3, 3.33)  # smallest and largest height / width of it
BLUR_SIGMA = (0.1, 2.0)  # in pixels, as in the field's contrastive recipes


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How a training batch is varied; the values are those of the field's cluster-contrast recipes.

    Attributes:
        flip: probability of a mirrored image.
        pad: black border in pixels from which the crop of the image's own size is taken.
        erase: probability of a random box being erased [Zhong et al., AAAI 2020, arXiv:1708.04896].
        erase_like: "torchvision": the box turns to the mean colour (0 after normalisation), its aspect is drawn from
            log-uniform ones; "authors": as in the paper's code and all that copied it, the box gets the mean colour's
            levels after normalisation (that is a lighter grey), and its aspect is drawn from uniform ones (higher).
        gain: the levels of each colour are multiplied by 1 + u, u uniform in ±gain (white balance).
        offset: and shifted by 255 u, u uniform in ±offset.
        policy: "none", "auto" (AutoAugment for ImageNet [Cubuk et al., CVPR 2019, arXiv:1805.09501]) or "trivial"
            (TrivialAugment [Müller & Hutter, ICCV 2021, arXiv:2103.10158]).
        policy_share: probability of that, for each image.
        grey: probability of a wholly grey image, as torchvision's RandomGrayscale makes.
        translate: probability that an image is enlarged by an eighth and a crop of its own size taken from it, as
            Torchreid's Random2DTranslation does [Zhou & Xiang, arXiv:1910.10093].
        brightness: levels are multiplied by a factor drawn from 1 ± this, as in torchvision's ColorJitter.
        contrast: likewise, about the mean grey of the image.
        saturation: likewise, about the grey of each pixel.
        hue: turned by u turns, u uniform in ±hue. The four come in random order.
        blur: probability of a Gaussian blur, its sigma drawn from `BLUR_SIGMA` pixels.
        grey_patch: probability that a random box (its area and aspect as of the erased one) turns grey [Gong et al.,
            arXiv:2101.08533].
        cutout: probability that a square of half the shorter side, centred anywhere, turns to the mean colour
            [DeVries & Taylor, arXiv:1708.04552].
        mean: of the RGB levels, as shares of the full range, which are normalised by it; it comes with the weights.
        std: their standard deviation, likewise.
    """

    flip: Share = 0.5
    pad: Annotated[int, Field(ge=0)] = 10
    erase: Share = 0.5
    erase_like: Literal["torchvision", "authors"] = "torchvision"
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    offset: Annotated[float, Field(ge=0, lt=1)] = 0.0
    policy: Literal["none", "auto", "trivial"] = "none"
    policy_share: Share = 1.0
    grey: Share = 0.0
    translate: Share = 0.0
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    blur: Share = 0.0
    grey_patch: Share = 0.0
    cutout: Share = 0.0
    mean: Colour = field(default=IMAGENET_MEAN, kw_only=False)  # no settings: not keyword-only
    std: Colour = field(default=IMAGENET_STD, kw_only=False)

    @property
    def scale(self) -> Float32[np.ndarray, "3"]:
        """What a level is multiplied by to be normalised; see `shift`."""
        return (1 / (255 * np.array(self.std))).astype(np.float32)

    @property
    def shift(self) -> Float32[np.ndarray, "3"]:
        """What is added to a level times `scale`."""
        return (-np.array(self.mean) / np.array(self.std)).astype(np.float32)

    @property
    def erased(self) -> Float32[np.ndarray, "3"]:
        """What an erased pixel is, after normalisation."""
        return np.array(self.mean if self.erase_like == "authors" else (0, 0, 0), np.float32)

    @property
    def distorts(self) -> bool:
        """Whether there is more to vary than the fused pass does."""
        names = ("grey", "translate", "brightness", "contrast", "saturation", "hue", "blur", "grey_patch", "cutout")
        return self.policy != "none" or any(getattr(self, name) for name in names)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random choices of one batch of b images (see `Augmentation` for their meaning)."""

    flip: Bool[np.ndarray, "b"]  # whether an image is mirrored
    top: Int32[np.ndarray, "b"]  # first row of the crop in the padded image, 0..2 * pad
    left: Int32[np.ndarray, "b"]  # first column of it
    erase: Int32[np.ndarray, "b 4"]  # top, left, height, width of the erased box in the crop; height 0 erases nothing
    gain: Float32[np.ndarray, "b 3"]  # factor of each colour's levels
    offset: Float32[np.ndarray, "b 3"]  # levels added to each colour, in units of 1/255
    policy: Int64[np.ndarray, "b"]  # seed of the image's automatic augmentation; -1: none
    greyed: Bool[np.ndarray, "b"]  # whether the whole image turns grey
    translate: Int32[np.ndarray, "b 2"]  # first row and column of the crop in the enlarged image; -1: not enlarged
    colour: Float32[np.ndarray, "b 4"]  # factors of brightness, contrast and saturation, and the turn of the hue
    colour_order: Int64[np.ndarray, "b 4"]  # the order of these four, by their numbers
    blur: Float32[np.ndarray, "b"]  # sigma of the blur, 0: none
    grey: Int32[np.ndarray, "b 4"]  # the grey patch, as `erase`
    cutout: Int32[np.ndarray, "b 4"]  # the box that is cut out, as `erase`


def draw(generator: np.random.Generator, count: int, *, height: int, width: int, settings: Augmentation) -> Draws:
    """Draw the random choices of `count` images of height × width pixels.

    The generator advances equally whatever the settings, and each further variation has a generator of its own spawned
    from it, so that switching one variation on or off leaves the others' draws as they were. Boxes follow torchvision's
    RandomErasing: ten tries at an area and an aspect (log-uniform), the first box that is smaller than the image in
    both directions is used.
    """
    uniform = generator.random((count, 5))
    levels = generator.uniform(-1, 1, (2, count, 3)).astype(np.float32)
    boxes = generator.random((count, ATTEMPTS, 2))
    border = 2 * settings.pad + 1
    wanted = generator.random(count) < settings.erase
    return Draws(
        flip=uniform[:, 0] < settings.flip,
        top=np.floor(uniform[:, 1] * border).astype(np.int32),
        left=np.floor(uniform[:, 2] * border).astype(np.int32),
        erase=_boxes(boxes, uniform[:, 3:], wanted, height, width, uniform_aspect=settings.erase_like == "authors"),
        gain=1 + np.float32(settings.gain) * levels[0],
        offset=np.float32(255 * settings.offset) * levels[1],
        **_further_draws(generator, count, height, width, settings),
    )


def _further_draws(
    generator: np.random.Generator, count: int, height: int, width: int, settings: Augmentation
) -> dict[str, np.ndarray]:
    if not settings.distorts:
        none = np.zeros((count, 4), np.int32)
        return {
            "policy": np.zeros(count, np.int64),
            "greyed": np.zeros(count, bool),
            "translate": none[:, :2] - 1,
            "colour": np.tile(np.array([1, 1, 1, 0], np.float32), (count, 1)),
            "colour_order": np.zeros((count, 4), np.int64),
            "blur": np.zeros(count, np.float32),
            "grey": none,
            "cutout": none,
        }
    policy, translate, colour, blur, grey, cutout, greyed = generator.spawn(7)
    seeds = policy.integers(2**62, size=count)
    tries, places = grey.random((count, ATTEMPTS, 2)), grey.random((count, 2))
    blurred = blur.random(count) < settings.blur
    return {
        "policy": np.where(policy.random(count) < settings.policy_share, seeds, -1),
        "greyed": greyed.random(count) < settings.grey,
        "translate": _translations(translate, count, height, width, settings),
        "colour": _colours(colour, count, settings),
        "colour_order": colour.permuted(np.tile(np.arange(4), (count, 1)), axis=1),
        "blur": (blurred * blur.uniform(*BLUR_SIGMA, count)).astype(np.float32),
        "grey": _boxes(tries, places, grey.random(count) < settings.grey_patch, height, width),
        "cutout": _squares(cutout, count, height, width, settings),
    }


def enlarged_size(height: int, width: int) -> tuple[int, int]:
    """Return the size that an image is enlarged to before it is translated."""
    return round(1.125 * height), round(1.125 * width)


def _translations(
    generator: np.random.Generator, count: int, height: int, width: int, settings: Augmentation
) -> Int32[np.ndarray, "b 2"]:
    large_height, large_width = enlarged_size(height, width)
    place = generator.integers(0, [large_height - height + 1, large_width - width + 1], (count, 2))
    place[generator.random(count) >= settings.translate] = -1
    return place.astype(np.int32)


def _colours(generator: np.random.Generator, count: int, settings: Augmentation) -> Float32[np.ndarray, "b 4"]:
    strength = np.array([settings.brightness, settings.contrast, settings.saturation])
    low = np.array([*np.maximum(1 - strength, 0), -settings.hue])
    high = np.array([*(1 + strength), settings.hue])
    return generator.uniform(low, high, (count, 4)).astype(np.float32)


def _squares(
    generator: np.random.Generator, count: int, height: int, width: int, settings: Augmentation
) -> Int32[np.ndarray, "b 4"]:
    size, side = np.array([height, width]), min(height, width) // 2
    first = generator.integers(0, size, (count, 2)) - side // 2
    last = np.minimum(first + side, size)
    first = np.maximum(first, 0)
    box = np.concatenate([first, last - first], axis=1)
    box[generator.random(count) >= settings.cutout] = 0
    return box.astype(np.int32)


def _boxes(
    tries: Float[np.ndarray, "b tries 2"],
    places: Float[np.ndarray, "b 2"],
    wanted: Bool[np.ndarray, "b"],
    height: int,
    width: int,
    uniform_aspect: bool = False,
) -> Int32[np.ndarray, "b 4"]:
    low, high = BOX_AREA
    area = height * width * (low + (high - low) * tries[:, :, 0])
    if uniform_aspect:
        aspect = BOX_ASPECT[0] + (BOX_ASPECT[1] - BOX_ASPECT[0]) * tries[:, :, 1]
    else:
        log_low, log_high = np.log(BOX_ASPECT)
        aspect = np.exp(log_low + (log_high - log_low) * tries[:, :, 1])
    sizes = np.stack([np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))], axis=2)
    fits: np.ndarray = np.all((sizes > 0) & (sizes < np.array([height, width])), axis=2)
    size = np.take_along_axis(sizes, fits.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    place = np.floor(places * (np.array([height, width]) - size + 1))
    box = np.concatenate([place, size], axis=1)
    box[~(wanted & fits.any(axis=1))] = 0
    return box.astype(np.int32)
