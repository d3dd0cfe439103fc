"""Colours in horizontal stripes: what a person wears, from head to foot, told without any training.

From random weights a network's embeddings tell cameras apart rather than people, and these descriptors do better; they
may be the first features that an untrained network learns from.
"""

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from reidlib.batches.kernels import count_colours
from reidlib.progress import progress

BLOCK = 512  # images counted at a time
BALANCED_MEAN = 110  # of every colour's levels after balancing: bright enough to tell, dark enough to clip little


def colour_stripes(
    images: UInt8[np.ndarray, "n height width 3"],
    *,
    stripes: int = 8,
    hues: int = 16,
    levels: int = 8,
    balance: bool = False,
    focus: float | None = None,
) -> Float32[np.ndarray, "n dim"]:
    """Describe each image by histograms of hue, saturation and value in horizontal stripes, from top to bottom.

    Hue is counted with the pixel's chroma as its weight, so that grey pixels, whose hue means nothing, count for
    nothing. The histograms of an image are joined, their square roots taken, and the whole brought to unit length: the
    inner product of two images is then the Bhattacharyya coefficient of their colours, and their Euclidean distance the
    Hellinger distance.

    Args:
        images: RGB; a memory map is read block by block. No image may be of no pixels.
        stripes: of equal height (to a pixel); pixel row y belongs to stripe floor(y * stripes / height).
        hues: bins of equal width over the circle, from red on.
        levels: bins of equal width of saturation, and of value.
        balance: scale the red, green and blue levels of every image to the same mean first, which takes away much of
            a camera's white balance and exposure (the grey-world assumption [Buchsbaum, J. Franklin Inst. 1980]).
        focus: count a column by a Gaussian around the middle with this standard deviation, as a share of the width,
            since people stand in the middle of their crops (.25 is usual); None counts all columns alike.

    Returns:
        Unit-norm rows of stripes * (hues + 2 * levels) numbers, 0..1: per stripe hue, saturation, value. The same for
        an image and its mirror image.

    Raises:
        ValueError: images without pixels, or a number of stripes or bins below 1.
    """
    if min(stripes, hues, levels) < 1:
        raise ValueError(f"colour_stripes: expected at least 1 of each, got {stripes=}, {hues=}, {levels=}")
    if focus is not None and not focus > 0:
        raise ValueError(f"colour_stripes: expected a focus above 0 or None, got {focus}")
    if images.shape[1] == 0 or images.shape[2] == 0:
        raise ValueError(f"colour_stripes: expected images of pixels, got shape {images.shape}")
    images = np.asarray(images).view()
    images.flags.writeable = False  # the one kind of array the kernel is compiled for
    weights = _column_weights(images.shape[2], focus)
    described = np.empty((len(images), stripes * (hues + 2 * levels)), np.float32)
    for start in progress(range(0, len(images), BLOCK), "colours"):
        block = np.ascontiguousarray(images[start : start + BLOCK])
        counts = np.zeros((len(block), stripes, hues + 2 * levels), np.int64)
        block.flags.writeable = False
        count_colours(block, BALANCED_MEAN if balance else 0, weights, hues, levels, counts)
        roots = np.sqrt(counts.reshape(len(block), -1))
        described[start : start + BLOCK] = roots / np.linalg.norm(roots, axis=1, keepdims=True)
    return described


def balanced_stripes(images: UInt8[np.ndarray, "n height width 3"]) -> Float32[np.ndarray, "n dim"]:
    """Describe each image by its colours after a grey-world balance, the middle of the crop counting more."""
    return colour_stripes(images, balance=True, focus=0.25)


def _column_weights(width: int, focus: float | None) -> Int64[np.ndarray, "width"]:
    """Return whole numbers up to 1,000, so that counts stay exact."""
    if focus is None:
        return np.ones(width, np.int64)
    from_middle = (2 * np.arange(width) - (width - 1)) / 2
    return np.maximum(1, np.rint(1000 * np.exp(-0.5 * (from_middle / (focus * width)) ** 2))).astype(np.int64)
