"""Compiled passes over packed images: into the floats the network takes, and into counts of colours.

The kernels hold no lock (`nogil`) and start no threads of their own, so that prefetching may go on beside them.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _mirror(pixels: np.ndarray, line: np.ndarray) -> None:
    last = np.uintp(len(line) - 3)  # unsigned numbers spare the check for negative indices
    for x in range(np.uintp(len(line) // 3)):
        to = np.uintp(3) * x
        for c in range(np.uintp(3)):
            line[to + c] = pixels[last - to + c]


@njit(cache=True, nogil=True)
def _blacken(shift: np.ndarray, line: np.ndarray, first: int, last: int) -> None:
    for i in range(first, last):  # a loop compiles in a fraction of the time that an assignment of arrays takes
        line[i] = shift[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def augment_rows(
    images: np.ndarray,
    rows: np.ndarray,
    flip: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    pad: int,
    erase: np.ndarray,
    gain: np.ndarray,
    offset: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    erased: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the images `rows`, augmented and normalised, into `out`.

    Args:
        images: uint8 (n, H, W * 3), the whole split.
        rows: int64 (b,), rows of `images`.
        flip: bool (b,), mirror before padding.
        top: int32 (b,), first row of the crop in the padded image, 0..2 * pad.
        left: int32 (b,), first column of it.
        pad: width of the black border.
        erase: int32 (b, 4), top, left, height, width of the box in the crop that is erased; height 0 erases nothing.
        gain: float32 (b, W * 3), factor of the pixel levels.
        offset: float32 (b, W * 3), levels added after it; results are clipped to 0..255.
        scale: float32 (W * 3,), 1 / (255 * std).
        shift: float32 (W * 3,), -mean / std, which is also the value of black.
        erased: float32 (W * 3,), what erased pixels turn to.
        out: float32 (b, H, W * 3).
    """
    height, width = out.shape[1], out.shape[2] // 3
    line = np.empty(width * 3, np.uint8)  # a row after flip and crop
    for b in range(len(rows)):
        row = rows[b]
        first = min(max(0, pad - left[b]), width)  # columns of the output that show the image
        last = max(min(width, width + pad - left[b]), first)
        begin = width - last - left[b] + pad if flip[b] else first + left[b] - pad
        for y in range(height):
            result = out[b, y]
            source_y = y + top[b] - pad
            if source_y < 0 or source_y >= height:
                _blacken(shift, result, np.int64(0), width * 3)
            else:
                pixels = images[row, source_y, begin * 3 : (begin + last - first) * 3]
                if flip[b]:
                    _mirror(pixels, line[first * 3 : last * 3])
                else:
                    for i in range(len(pixels)):
                        line[first * 3 + i] = pixels[i]
                for i in range(width * 3):
                    value = np.float32(line[i]) * gain[b, i] + offset[b, i]
                    value = min(max(value, np.float32(0)), np.float32(255))
                    result[i] = value * scale[i] + shift[i]
                _blacken(shift, result, np.int64(0), first * 3)
                _blacken(shift, result, last * 3, width * 3)
            if erase[b, 0] <= y < erase[b, 0] + erase[b, 2]:
                for i in range(erase[b, 1] * 3, (erase[b, 1] + erase[b, 3]) * 3):
                    result[i] = erased[i]


@njit(cache=True, nogil=True, error_model="numpy")
def count_colours(
    images: np.ndarray, balance: int, weights: np.ndarray, hues: int, levels: int, counts: np.ndarray
) -> None:
    """Add the pixels of every image to its `counts`.

    Args:
        images: uint8 (n, H, W, 3), RGB.
        balance: the mean that every colour's levels are scaled to, clipped to 255; 0 leaves them.
        weights: int64 (W,), of the columns.
        hues: number of hue bins.
        levels: number of saturation bins, and of value bins.
        counts: int64 (n, stripes, hues + 2 * levels), zero before; a pixel counts its column's weight, times chroma
            (max - min, 0..255) for hue, times 255 for saturation and value.
    """
    height, width, stripes = images.shape[1], images.shape[2], counts.shape[1]
    table = np.empty((3, 256), np.uint8)
    for i in range(len(images)):
        for c in range(3):
            total = np.int64(0)
            if balance > 0:
                for y in range(height):
                    for x in range(width):
                        total += images[i, y, x, c]
            for level in range(256):
                if total > 0:  # rounded to the nearest
                    table[c, level] = min(255, (2 * level * balance * height * width + total) // (2 * total))
                else:
                    table[c, level] = level
        for y in range(height):
            row = images[i, y]
            bins = counts[i, y * stripes // height]
            for x in range(width):
                red, green, blue = (
                    np.int32(table[0, row[x, 0]]),
                    np.int32(table[1, row[x, 1]]),
                    np.int32(table[2, row[x, 2]]),
                )
                value = max(red, green, blue)
                chroma = value - min(red, green, blue)
                if chroma > 0:
                    if value == red:  # hue in 1 / chroma of a sixth of the circle
                        hue = green - blue if green >= blue else green - blue + 6 * chroma
                    elif value == green:
                        hue = blue - red + 2 * chroma
                    else:
                        hue = red - green + 4 * chroma
                    bins[hue * hues // (6 * chroma)] += chroma * weights[x]
                    saturation = chroma * levels // value  # `levels` where the smallest of the three is zero
                    bins[hues + saturation - saturation // levels] += 255 * weights[x]
                else:
                    bins[hues] += 255 * weights[x]
                bins[hues + levels + value * levels // 256] += 255 * weights[x]
