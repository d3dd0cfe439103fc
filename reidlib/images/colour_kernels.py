"""Compiled pass that counts hue, saturation and value of every pixel, stripe by stripe, in whole numbers."""

import numpy as np
from numba import njit


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
