"""Compiled passes over packed images: one read of the uint8 pixels, one write of the floats the network takes.

The kernels hold no lock (`nogil`) and start no threads of their own, so a caller may run them from several Python
threads on disjoint parts of a batch, or from a prefetching thread beside the training step.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _arrange(pixels: np.ndarray, first: int, last: int, flip: bool, planar: bool, line: np.ndarray) -> None:
    """Put the shown pixels of one row into columns `first..last` of `line`, mirrored or not, in the output's order."""
    shown = last - first  # unsigned numbers below spare the check for negative indices
    if planar:
        for c in range(3):
            width = len(line) // 3
            target = line[c * width + first : c * width + last]
            if flip:
                for x in range(np.uintp(shown)):
                    target[x] = pixels[np.uintp(3 * (shown - 1) + c) - np.uintp(3) * x]
            else:
                for x in range(np.uintp(shown)):
                    target[x] = pixels[np.uintp(3) * x + np.uintp(c)]
    elif flip:
        target = line[first * 3 : last * 3]
        for x in range(np.uintp(shown)):
            to, of = np.uintp(3) * x, np.uintp(3 * (shown - 1)) - np.uintp(3) * x
            target[to] = pixels[of]
            target[to + np.uintp(1)] = pixels[of + np.uintp(1)]
            target[to + np.uintp(2)] = pixels[of + np.uintp(2)]
    else:
        line[first * 3 : last * 3] = pixels


@njit(cache=True, nogil=True)
def _paint(values: np.ndarray, first: int, last: int, planar: bool, line: np.ndarray) -> None:
    """Write one value per colour into columns `first..last` of a row in the output's order."""
    width = len(line) // 3
    for c in range(3):
        for x in range(first, last):
            line[c * width + x if planar else x * 3 + c] = values[c]


@njit(cache=True, nogil=True)
def _neighbours(size: int, of: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two places among `of` that each place among `size` lies between, and the share of the second."""
    place = np.maximum((np.arange(size) + 0.5) * of / size - 0.5, 0.0)
    first = np.minimum(place.astype(np.uintp), np.uintp(of - 1))
    return first, np.minimum(first + np.uintp(1), np.uintp(of - 1)), (place - first).astype(np.float32)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _resize_row(
    above: np.ndarray,
    below: np.ndarray,
    share: np.float32,
    across: tuple[np.ndarray, np.ndarray, np.ndarray],
    between: np.ndarray,
    line: np.ndarray,
) -> None:
    """Write into `line` what lies between two rows of levels, resized `across`; `between` has room for such a row."""
    for i in range(len(between)):
        between[i] = np.float32(above[i]) + share * (np.float32(below[i]) - np.float32(above[i]))
    left, right, part = across
    for x in range(np.uintp(len(part))):
        for c in range(np.uintp(3)):
            start, end = between[np.uintp(3) * left[x] + c], between[np.uintp(3) * right[x] + c]
            line[np.uintp(3) * x + c] = np.uint8(start + part[x] * (end - start) + np.float32(0.5))


@njit(cache=True, nogil=True, fastmath={"contract"})
def augment_rows(
    images: np.ndarray,
    rows: np.ndarray,
    start: int,
    stop: int,
    flip: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    pad: int,
    erase: np.ndarray,
    gain: np.ndarray,
    offset: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    fill: np.ndarray,
    height: int,
    width: int,
    planar: bool,
    out: np.ndarray,
) -> None:
    """Write the images `rows[start:stop]`, augmented and normalised, into `out[start:stop]`.

    Args:
        images: uint8 (n, any height, any width, 3), the whole split; resized to H × W where it is of another size
            (bilinear, not antialiased).
        rows: int64 (b,), rows of `images`.
        start: first position of the batch to write.
        stop: one past the last.
        flip: bool (b,), mirror before padding.
        top: int32 (b,), first row of the crop in the padded image, 0..2 * pad.
        left: int32 (b,), first column of it.
        pad: width of the black border.
        erase: int32 (b, 4), top, left, height, width of the erased box in the crop; height 0 erases nothing.
        gain: float32 (b, 3), factor of the pixel levels.
        offset: float32 (b, 3), levels added after it; results are clipped to 0..255.
        scale: float32 (3,), 1 / (255 * std).
        shift: float32 (3,), -mean / std, which is also the value of black.
        fill: float32 (3,), value of the erased box.
        height: H.
        width: W.
        planar: write (b, 3, H, W) rather than (b, H, W, 3).
        out: float32 (b, H * W * 3), filled in either order.
    """
    source = images.reshape(images.shape[0], images.shape[1], images.shape[2] * 3)
    resize = (height, width) != images.shape[1:3]
    above, below, share = _neighbours(height, images.shape[1])
    across = _neighbours(width, images.shape[2])
    between = np.empty(source.shape[2], np.float32)
    large = np.empty(width * 3, np.uint8)  # the row after resizing
    line = np.empty(width * 3, np.uint8)  # the row after flip and crop, in the order of the output
    gains = np.empty(width * 3, np.float32)
    offsets = np.empty(width * 3, np.float32)
    scales = np.empty(width * 3, np.float32)
    shifts = np.empty(width * 3, np.float32)
    result = np.empty(width * 3, np.float32)
    _paint(scale, 0, width, planar, scales)
    _paint(shift, 0, width, planar, shifts)
    for b in range(start, stop):
        row = rows[b]
        first = min(max(0, pad - left[b]), width)  # columns of the output that show the image
        last = max(min(width, width + pad - left[b]), first)
        _paint(gain[b], 0, width, planar, gains)
        _paint(offset[b], 0, width, planar, offsets)
        for y in range(height):
            source_y = y + top[b] - pad
            if source_y < 0 or source_y >= height:
                for i in range(width * 3):
                    result[i] = shifts[i]
            else:
                shown = last - first
                begin = first + left[b] - pad
                if flip[b]:
                    begin = width - begin - shown
                if resize:
                    low, high = source[row, above[source_y]], source[row, below[source_y]]
                    _resize_row(low, high, share[source_y], across, between, large)
                    _arrange(large[begin * 3 : (begin + shown) * 3], first, last, flip[b], planar, line)
                else:
                    pixels = source[row, source_y, begin * 3 : (begin + shown) * 3]
                    _arrange(pixels, first, last, flip[b], planar, line)
                for i in range(width * 3):
                    value = np.float32(line[i]) * gains[i] + offsets[i]
                    value = min(max(value, np.float32(0)), np.float32(255))
                    result[i] = value * scales[i] + shifts[i]
                _paint(shift, 0, first, planar, result)
                _paint(shift, last, width, planar, result)
            if erase[b, 0] <= y < erase[b, 0] + erase[b, 2]:
                _paint(fill, erase[b, 1], erase[b, 1] + erase[b, 3], planar, result)
            if planar:
                for c in range(3):
                    begin = (c * height + y) * width
                    out[b, begin : begin + width] = result[c * width : (c + 1) * width]
            else:
                out[b, y * width * 3 : (y + 1) * width * 3] = result


@njit(cache=True, nogil=True, fastmath={"contract"})
def normalise_rows(
    images: np.ndarray,
    rows: np.ndarray,
    start: int,
    stop: int,
    scale: np.ndarray,
    shift: np.ndarray,
    planar: bool,
    out: np.ndarray,
) -> None:
    """Write the images `rows[start:stop]`, normalised, into `out[start:stop]`; arguments as in `augment_rows`."""
    height, width = images.shape[1], images.shape[2]
    source = images.reshape(images.shape[0], height * width * 3)
    size = height * width
    scales = np.empty(width * 3, np.float32)
    shifts = np.empty(width * 3, np.float32)
    for i in range(width * 3):
        scales[i] = scale[i % 3]
        shifts[i] = shift[i % 3]
    for b in range(start, stop):
        pixels = source[rows[b]]
        if planar:
            for c in range(3):
                target = out[b, c * size : (c + 1) * size]
                for i in range(size):
                    target[i] = np.float32(pixels[i * 3 + c]) * scale[c] + shift[c]
        else:
            for y in range(height):
                line = pixels[y * width * 3 : (y + 1) * width * 3]
                target = out[b, y * width * 3 : (y + 1) * width * 3]
                for i in range(width * 3):
                    target[i] = np.float32(line[i]) * scales[i] + shifts[i]
