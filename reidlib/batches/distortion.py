"""Further variations of a batch of uint8 pictures, before they are flipped, cropped and normalised.

Batched torch operations on the device of the pictures, so the same on a CPU and a GPU, and the same as torchvision's
functions give. None of them waits for the device: which images a variation concerns is known from the draws. In order:
policy, greyscale, translation, colour jitter, blur, grey patch, cutout.

torchvision's own functions take one factor for all images that they are given. Called image by image they take 85
operations for the four changes of colour and 20 for the blur, each a launch on a GPU and of each image of a batch. On
one core jitter takes 3 times as long so as here for 64 images of 64 × 32 pixels, and 1.2 times for 256 × 128.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64, Integer, UInt8
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.batches.variation import BLUR_SIGMA, Augmentation, Draws, enlarged_size

Pictures = UInt8[Tensor, "b 3 height width"]
Levels = Float[Tensor, "b _ height width"]

BLUR_RADIUS = round(3 * BLUR_SIGMA[1])


def distort(
    images: UInt8[Tensor, "b height width 3"], draws: Draws, *, settings: Augmentation
) -> UInt8[Tensor, "b height width 3"]:
    """Return the images with the further variations that `draws` describe."""
    pictures = images.permute(0, 3, 1, 2).clone()
    if settings.policy != "none":
        pictures = _apply_policy(pictures, draws.policy, settings.policy)
    _change(pictures, draws.greyed, lambda levels, _: _grey(levels).expand_as(levels), draws.greyed)
    _change(pictures, draws.translate[:, 0] >= 0, _translate, draws.translate)
    for place in range(4):
        for kind, neutral in enumerate((1, 1, 1, 0)):
            chosen = (draws.colour_order[:, place] == kind) & (draws.colour[:, kind] != neutral)
            _change(pictures, chosen, (_brightness, _contrast, _saturation, _hue)[kind], draws.colour[:, kind])
    _change(pictures, draws.blur > 0, _blur, draws.blur)
    if settings.grey_patch:
        mask = box_mask(on_device(pictures, draws.grey), *images.shape[1:3])
        pictures = torch.where(mask[:, None], _grey(pictures.float()).to(torch.uint8), pictures)
    if settings.cutout:
        mask = box_mask(on_device(pictures, draws.cutout), *images.shape[1:3])
        mean = on_device(pictures, np.rint(255 * np.array(settings.mean)).astype(np.uint8))
        pictures = torch.where(mask[:, None], mean[:, None, None], pictures)
    return pictures.permute(0, 2, 3, 1)


def resize(pictures: Pictures, size_px: tuple[int, int]) -> UInt8[Tensor, "b 3 new_height new_width"]:
    """Resize by bilinear interpolation without antialiasing."""
    from torchvision.transforms.v2 import functional  # costs seconds to import

    return functional.resize(pictures, list(size_px), antialias=False)


def box_mask(boxes: Integer[Tensor, "b 4"], height: int, width: int) -> Bool[Tensor, "b {height} {width}"]:
    """Return which pixels lie in the box (top, left, height, width) of their image."""
    top, left, high, wide = boxes.T[:, :, None]
    y, x = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    return ((y >= top) & (y < top + high))[:, :, None] & ((x >= left) & (x < left + wide))[:, None]


def _change(
    pictures: Pictures, chosen: Bool[np.ndarray, "b"], change: Callable[[Levels, Tensor], Levels], draws: np.ndarray
) -> None:
    """Put `change(levels, draws)` in the place of the chosen pictures; fractions of levels are cut off."""
    rows = np.flatnonzero(chosen)
    if rows.size:
        index = on_device(pictures, rows)
        changed = change(pictures[index].float(), on_device(pictures, draws[rows]))
        pictures[index] = changed.to(torch.uint8)


def _apply_policy(pictures: Pictures, seeds: Int64[np.ndarray, "b"], name: str) -> Pictures:
    """Apply torchvision's AutoAugment or TrivialAugment image by image, torch's global generator left as it was.

    Images whose seed is -1 stay.
    """
    from torchvision.transforms import v2

    policy = v2.AutoAugment() if name == "auto" else v2.TrivialAugmentWide()
    changed = []
    with torch.random.fork_rng(devices=[]):
        for picture, seed in zip(pictures, seeds.tolist(), strict=True):
            if seed >= 0:
                torch.default_generator.manual_seed(seed)
            changed.append(policy(picture) if seed >= 0 else picture)
    return torch.stack(changed)


def _translate(levels: Levels, places: Int32[Tensor, "b 2"]) -> Levels:
    height, width = levels.shape[2:]
    large = functional.interpolate(levels, enlarged_size(height, width), mode="bilinear").round_()
    y = places[:, :1] + torch.arange(height, device=levels.device)
    x = places[:, 1:] + torch.arange(width, device=levels.device)
    image = torch.arange(len(levels), device=levels.device)[:, None, None]
    return large[image, :, y[:, :, None], x[:, None]].permute(0, 3, 1, 2)


def _grey(levels: Levels) -> Levels:
    red, green, blue = levels[:, :1], levels[:, 1:2], levels[:, 2:]
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()  # torchvision's weights


def _blend(levels: Levels, other: Tensor, factors: Float[Tensor, "b"]) -> Levels:
    share = factors[:, None, None, None]
    return (levels * share + other * (1 - share)).clamp_(0, 255)


def _brightness(levels: Levels, factors: Float[Tensor, "b"]) -> Levels:
    return _blend(levels, torch.zeros_like(factors)[:, None, None, None], factors)


def _contrast(levels: Levels, factors: Float[Tensor, "b"]) -> Levels:
    return _blend(levels, _grey(levels).mean(dim=(1, 2, 3), keepdim=True), factors)


def _saturation(levels: Levels, factors: Float[Tensor, "b"]) -> Levels:
    return _blend(levels, _grey(levels), factors)


def _hue(levels: Levels, turns: Float[Tensor, "b"]) -> Levels:
    """Turn the hue: of each colour what is above the least is spread anew by the angle, brightest and least stay."""
    red, green, blue = levels.unbind(dim=1)
    most = torch.maximum(torch.maximum(red, green), blue)
    spread = most - torch.minimum(torch.minimum(red, green), blue)
    part = spread.clamp(min=1)
    sixth = torch.where(
        most == red,
        (green - blue) / part,
        torch.where(most == green, 2 + (blue - red) / part, 4 + (red - green) / part),
    )
    sixth = sixth + 6 * turns[:, None, None]
    colours = []
    for start in (5, 3, 1):
        place = sixth + start
        place = place - 6 * (place / 6).floor_()  # quicker than the remainder
        colours.append(most - spread * torch.minimum(place, 4 - place).clamp_(0, 1))
    return torch.stack(colours, dim=1) * (255.999 / 255)


def _blur(levels: Levels, sigmas: Float32[Tensor, "b"]) -> Levels:
    """Blur by a Gaussian cut off at `BLUR_RADIUS` pixels, the border mirrored."""
    count, colours, height, width = levels.shape
    distance = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=levels.device)
    weights = torch.softmax(-((distance / sigmas[:, None]) ** 2) / 2, dim=1).repeat_interleave(colours, dim=0)
    planes = levels.reshape(1, count * colours, height, width)
    padded = functional.pad(planes, [BLUR_RADIUS] * 4, mode="reflect")
    columns = functional.conv2d(padded, weights[:, None, :, None], groups=count * colours)
    return functional.conv2d(columns, weights[:, None, None], groups=count * colours).round_().view(levels.shape)
