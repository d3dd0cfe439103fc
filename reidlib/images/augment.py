"""From packed uint8 images to an augmented, normalised training batch.

All randomness of a batch is drawn first (`draw`), by one explicit numpy Generator, and then applied (`apply`): on the
CPU in one fused compiled pass that reads rows of the memory-mapped split directly, on a GPU by batched torch
operations on the split held there. The same draws give the same pictures either way, and the same as torchvision's
single-image functions give.

Order of operations: resizing to the size of training, what `reidlib.images.distortion` does where a setting asks for
it, flip, gain and offset of the pixel levels, black padding, crop, normalisation, erasing.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer, UInt8
from torch import Tensor

from reidlib.images.distortion import distort, inside, on_device, resized
from reidlib.images.kernels import augment_rows, normalise_rows
from reidlib.images.variation import Augmentation, Draws, check_statistics, draw

__all__ = ["Augmentation", "Draws", "apply", "augment", "draw", "normalise"]

Images = UInt8[np.ndarray, "n height width 3"] | UInt8[Tensor, "n height width 3"]
Rows = Integer[np.ndarray, "b"]
Batch = Float[Tensor, "b 3 new_height new_width"]


def augment(
    images: Images,
    generator: np.random.Generator,
    *,
    settings: Augmentation,
    rows: Rows | None = None,
    size_px: tuple[int, int] | None = None,
    channels_last: bool = False,
    threads: int = 1,
) -> Batch:
    """Draw and apply the variations of one batch: `apply` of `draw`.

    Args:
        images: uint8 RGB; a numpy array (a memory map of a whole split too) is read on the CPU, a tensor on its device.
        generator: the only source of randomness.
        settings: how to vary.
        rows: the images of the batch, in order; all of `images` without.
        size_px: height and width of the batch; those of the images without.
        channels_last: lay the batch out as (b, H, W, 3) in memory (always so on a GPU).
        threads: Python threads that share the batch on the CPU; the result does not depend on it.
    """
    count = len(images) if rows is None else len(rows)
    height, width = size_px or images.shape[1:3]
    draws = draw(generator, count, height=height, width=width, settings=settings)
    return apply(
        images, draws, settings=settings, rows=rows, size_px=size_px, channels_last=channels_last, threads=threads
    )


def apply(
    images: Images,
    draws: Draws,
    *,
    settings: Augmentation,
    rows: Rows | None = None,
    size_px: tuple[int, int] | None = None,
    channels_last: bool = False,
    threads: int = 1,
) -> Batch:
    """Make the batch that `draws`, for images of the batch's size, describe; arguments as in `augment`.

    Returns:
        float32, normalised by the mean and standard deviation of the settings, on the device of the images.

    Raises:
        ValueError: rows that are not in the images, or draws of another number of images.
    """
    rows = _check_rows(images, rows)
    if len(draws.flip) != len(rows):
        raise ValueError(f"apply: expected draws for {len(rows)} images, got {len(draws.flip)}")
    size_px = size_px or (int(images.shape[1]), int(images.shape[2]))
    if settings.distorts or (isinstance(images, Tensor) and size_px != images.shape[1:3]):
        images, rows = _distorted(images, rows, draws, size_px, settings), np.arange(len(rows))
    if isinstance(images, Tensor):
        return _apply_torch(images, draws, rows, settings)
    scale, shift = _levels(settings.mean, settings.std)
    fill = np.zeros(3, np.float32) if settings.erase_fill == "mean" else shift
    images, rows = _readable(images, rows)
    out = np.empty((len(rows), 3 * size_px[0] * size_px[1]), np.float32)

    def part(start: int, stop: int) -> None:
        augment_rows(
            images, rows, start, stop, draws.flip, draws.top, draws.left, settings.pad, draws.erase, draws.gain,
            draws.offset, scale, shift, fill, *size_px, not channels_last, out,
        )  # fmt: skip

    _share(part, len(rows), threads)
    return _as_batch(out, *size_px, channels_last)


def normalise(
    images: Images,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    rows: Rows | None = None,
    size_px: tuple[int, int] | None = None,
    channels_last: bool = False,
    threads: int = 1,
) -> Batch:
    """Make a batch for inference: (level / 255 - mean) / std, nothing random; arguments as in `augment`."""
    check_statistics(mean, std)
    if size_px not in (None, tuple(images.shape[1:3])):  # the other pass can resize
        still = Augmentation(flip=0.0, pad=0, erase=0.0, mean=mean, std=std)
        return augment(
            images, np.random.default_rng(0), settings=still, rows=rows,
            size_px=size_px, channels_last=channels_last, threads=threads,
        )  # fmt: skip
    rows = _check_rows(images, rows)
    scale, shift = _levels(mean, std)
    if isinstance(images, Tensor):
        chosen = images[on_device(images, rows)].float()
        scaled = torch.addcmul(on_device(images, shift), chosen, on_device(images, scale))
        return scaled.permute(0, 3, 1, 2)
    images, rows = _readable(images, rows)
    out = np.empty((len(rows), int(np.prod(images.shape[1:]))), np.float32)
    _share(
        lambda start, stop: normalise_rows(images, rows, start, stop, scale, shift, not channels_last, out),
        len(rows),
        threads,
    )
    return _as_batch(out, images.shape[1], images.shape[2], channels_last)


def _distorted(
    images: Images,
    rows: Int64[np.ndarray, "b"],
    draws: Draws,
    size_px: tuple[int, int],
    settings: Augmentation,
) -> UInt8[Tensor, "b new_height new_width 3"] | UInt8[np.ndarray, "b new_height new_width 3"]:
    """Return the images of the batch in its size, with the further variations, as they came: an array or a tensor."""
    chosen = images[on_device(images, rows)] if isinstance(images, Tensor) else torch.from_numpy(images[rows])
    if size_px != chosen.shape[1:3]:
        chosen = resized(chosen.permute(0, 3, 1, 2), size_px).permute(0, 2, 3, 1)
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
    scale, shift = (on_device(images, values) for values in _levels(settings.mean, settings.std))
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    from_y = y + top - settings.pad
    from_x = x + left - settings.pad
    shown = ((from_y >= 0) & (from_y < height))[:, :, None] & ((from_x >= 0) & (from_x < width))[:, None]
    from_x = torch.where(flip.bool(), width - 1 - from_x, from_x).clamp(0, width - 1)
    pixels = images[row[:, :, None], from_y.clamp(0, height - 1)[:, :, None], from_x[:, None]].float()
    pixels = torch.addcmul(levels[1], pixels, levels[0]).clamp_(0, 255)
    batch = torch.addcmul(shift, pixels * shown[..., None], scale)
    fill = torch.zeros_like(shift) if settings.erase_fill == "mean" else shift
    return torch.where(inside(whole[:, 4:], height, width)[..., None], fill, batch).permute(0, 3, 1, 2)


def _levels(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[Float32[np.ndarray, "3"], Float32[np.ndarray, "3"]]:
    """Return the factor and the summand that normalise pixel levels."""
    scale = 1 / (255 * np.array(std))
    return scale.astype(np.float32), (-np.array(mean) / np.array(std)).astype(np.float32)


def _check_rows(images: Images, rows: Rows | None) -> Int64[np.ndarray, "b"]:
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


def _readable(
    images: UInt8[np.ndarray, "n height width 3"], rows: Int64[np.ndarray, "b"]
) -> tuple[UInt8[np.ndarray, "m height width 3"], Int64[np.ndarray, "b"]]:
    """Return a read-only contiguous plain array, the one kind the kernels are compiled for, and rows of it."""
    if not images.flags.c_contiguous:
        images, rows = np.ascontiguousarray(images[rows]), np.arange(len(rows), dtype=np.int64)
    images = np.asarray(images).view()
    images.flags.writeable = False
    return images, rows


def _share(part: Callable[[int, int], None], count: int, threads: int) -> None:
    """Run `part(start, stop)` over 0..count in `threads` even pieces at once."""
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    if threads == 1 or count < 2 * threads:
        part(0, count)
        return
    edges = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, edges[:-1], edges[1:]))


def _as_batch(out: Float32[np.ndarray, "b size"], height: int, width: int, channels_last: bool) -> Batch:
    batch = torch.from_numpy(out)
    if channels_last:
        return batch.view(-1, height, width, 3).permute(0, 3, 1, 2)
    return batch.view(-1, 3, height, width)
