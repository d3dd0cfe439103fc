"""From packed uint8 images to an augmented, normalised training batch.

All randomness of a batch is drawn first (`draw`), by one explicit numpy Generator, and then applied (`apply`): on the
CPU in one fused compiled pass that reads rows of the memory-mapped split directly, on a GPU by batched torch
operations on the split held there. The same draws give the same pictures either way, and the same as torchvision's
single-image functions give. Batches lie in memory as (b, H, W, 3).

Order of operations: resizing to the size of training, what `reidlib.batches.distortion` does where a setting asks for
it, flip, gain and offset of the pixel levels, black padding, crop, normalisation, erasing.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, UInt8
from torch import Tensor

from reidlib.batches.distortion import box_mask, distort, resize
from reidlib.batches.kernels import augment_rows
from reidlib.batches.residence import Images, on_device
from reidlib.batches.variation import IMAGENET_MEAN, IMAGENET_STD, Augmentation, Colour, Draws, draw

__all__ = ["Augmentation", "Draws", "apply", "augment", "draw", "normalise"]

Batch = Float[Tensor, "b 3 new_height new_width"]

STILL = Augmentation(flip=0.0, pad=0, erase=0.0)


def augment(
    images: Images,
    generator: np.random.Generator,
    *,
    settings: Augmentation,
    rows: Integer[np.ndarray, "b"] | None = None,
    size_px: tuple[int, int] | None = None,
) -> Batch:
    """Draw and apply the variations of one batch: `apply` of `draw`.

    Args:
        images: uint8 RGB; a numpy array (a memory map of a whole split too) is read on the CPU, a tensor on its device.
        generator: the only source of randomness.
        settings: how to vary.
        rows: the images of the batch, in order; all of `images` without.
        size_px: height and width of the batch; those of the images without.
    """
    count = len(images) if rows is None else len(rows)
    height, width = size_px or images.shape[1:3]
    draws = draw(generator, count, height=height, width=width, settings=settings)
    return apply(images, draws, settings=settings, rows=rows, size_px=size_px)


def apply(
    images: Images,
    draws: Draws,
    *,
    settings: Augmentation,
    rows: Integer[np.ndarray, "b"] | None = None,
    size_px: tuple[int, int] | None = None,
) -> Batch:
    """Make the batch that `draws`, for images of the batch's size, describe; arguments as in `augment`.

    Returns:
        float32, normalised by the settings' mean and standard deviation, on the device of the images.

    Raises:
        ValueError: rows that are not in the images, or draws of another number of images.
    """
    rows = _valid_rows(images, rows)
    if len(draws.flip) != len(rows):
        raise ValueError(f"apply: expected draws for {len(rows)} images, got {len(draws.flip)}")
    height, width = size_px = size_px or (int(images.shape[1]), int(images.shape[2]))
    if settings.distorts or size_px != images.shape[1:3]:
        images, rows = _distort_rows(images, rows, draws, size_px, settings), np.arange(len(rows))
    if isinstance(images, Tensor):
        return _apply_torch(images, draws, rows, settings)
    if not images.flags.c_contiguous:
        images, rows = np.ascontiguousarray(images[rows]), np.arange(len(rows))
    images = np.asarray(images).reshape(len(images), height, width * 3)  # a view
    images.flags.writeable = False  # a plain array, the one kind that the kernel is compiled for
    gain, offset, scale, shift, erased = (
        np.tile(levels, width) for levels in (draws.gain, draws.offset, settings.scale, settings.shift, settings.erased)
    )
    out = np.empty((len(rows), height, width * 3), np.float32)
    augment_rows(
        images, rows, draws.flip, draws.top, draws.left, settings.pad, draws.erase, gain, offset, scale, shift, erased,
        out,
    )  # fmt: skip
    return torch.from_numpy(out).view(-1, height, width, 3).permute(0, 3, 1, 2)


def normalise(
    images: Images,
    *,
    rows: Integer[np.ndarray, "b"] | None = None,
    size_px: tuple[int, int] | None = None,
    mean: Colour = IMAGENET_MEAN,
    std: Colour = IMAGENET_STD,
) -> Batch:
    """Make a batch for inference: (level / 255 - mean) / std, nothing random; other arguments as in `augment`."""
    still = replace(STILL, mean=mean, std=std)
    if isinstance(images, Tensor) and size_px in (None, images.shape[1:3]):
        chosen = images[on_device(images, _valid_rows(images, rows))].float()
        return torch.addcmul(on_device(images, still.shift), chosen, on_device(images, still.scale)).permute(0, 3, 1, 2)
    return augment(images, np.random.default_rng(0), settings=still, rows=rows, size_px=size_px)


def _distort_rows(
    images: Images, rows: Int64[np.ndarray, "b"], draws: Draws, size_px: tuple[int, int], settings: Augmentation
) -> UInt8[Tensor, "b new_height new_width 3"] | UInt8[np.ndarray, "b new_height new_width 3"]:
    """Return the images of the batch in its size, with the further variations, as they came: an array or a tensor."""
    chosen = images[on_device(images, rows)] if isinstance(images, Tensor) else torch.from_numpy(images[rows])
    if size_px != chosen.shape[1:3]:
        chosen = resize(chosen.permute(0, 3, 1, 2), size_px).permute(0, 2, 3, 1)
    if settings.distorts:
        chosen = distort(chosen, draws, settings=settings)
    return chosen if isinstance(images, Tensor) else chosen.numpy()


def _apply_torch(
    images: UInt8[Tensor, "n height width 3"], draws: Draws, rows: Int64[np.ndarray, "b"], settings: Augmentation
) -> Float[Tensor, "b 3 height width"]:
    height, width = images.shape[1:3]
    whole = on_device(images, np.column_stack([rows, draws.flip, draws.top, draws.left, draws.erase]).astype(np.int64))
    row, flip, top, left = whole.T[:4, :, None]
    levels = on_device(images, np.stack([draws.gain, draws.offset]))[:, :, None, None]
    scale, shift = on_device(images, settings.scale), on_device(images, settings.shift)
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    from_y = y + top - settings.pad
    from_x = x + left - settings.pad
    shown = ((from_y >= 0) & (from_y < height))[:, :, None] & ((from_x >= 0) & (from_x < width))[:, None]
    from_x = torch.where(flip.bool(), width - 1 - from_x, from_x).clamp(0, width - 1)
    pixels = images[row[:, :, None], from_y.clamp(0, height - 1)[:, :, None], from_x[:, None]].float()
    pixels = torch.addcmul(levels[1], pixels, levels[0]).clamp_(0, 255)
    batch = torch.addcmul(shift, pixels * shown[..., None], scale)
    erased = on_device(images, settings.erased)
    return torch.where(box_mask(whole[:, 4:], height, width)[..., None], erased, batch).permute(0, 3, 1, 2)


def _valid_rows(images: Images, rows: Integer[np.ndarray, "b"] | None) -> Int64[np.ndarray, "b"]:
    if str(images.dtype).removeprefix("torch.") != "uint8" or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"expected images as uint8 (n, height, width, 3), got {images.dtype} {tuple(images.shape)}; "
            "pass packed images, not a normalised batch"
        )
    if rows is None:
        return np.arange(len(images), dtype=np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(images)):
        raise ValueError(f"expected rows 0..{len(images) - 1}, got {rows.min()}..{rows.max()}; is this their split?")
    return rows.astype(np.int64)
