"""Which boxes make a crop: the rules, each with the name under which what it left out is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LEFT_OUT = ("unsure", "tiny", "cut_off", "blurred", "alike")
_LOOK_PX = (64, 128)  # of the grey picture whose sharpness is measured
_SMALL_PX = (8, 16)  # of the picture by which two are alike


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is left out; a box that two rules concern is counted under the first.

    Attributes:
        score: unsure below it, where the score is known.
        side_px: tiny where the shorter side is below it.
        cut_off: where more than this share of the box lies outside the picture, or it ends at most a pixel from an edge
            of it, as trackers leave boxes that they have clipped; 1 keeps both.
        blurred: where the sharpness is below this share of the median of its tracklet.
        alike: where it differs from the crop of its tracklet that was kept before it by less than this share of the
            full range, on average over a picture of 8 x 16 pixels.
    """

    score: float = 0.3
    side_px: float = 24.0
    cut_off: float = 0.1
    blurred: float = 0.5
    alike: float = 0.02


class Box(NamedTuple):
    """A box in pixels: left, top, width, height; the score NaN where unknown."""

    x: float
    y: float
    width: float
    height: float
    score: float


class Look(NamedTuple):
    """What the rules for whole tracklets know of a crop: how sharp it is, and how it looks in small."""

    sharpness: float
    small: UInt8[np.ndarray, "h w 3"]


def crop(pixels: UInt8[np.ndarray, "h w 3"], box: Box, rules: Rules) -> UInt8[np.ndarray, "_ _ 3"] | str:
    """Return what a box shows of a frame, as far as it lies in it, or the name of the rule that leaves it out."""
    if box.score < rules.score:
        return "unsure"
    if min(box.width, box.height) < rules.side_px:
        return "tiny"
    high, wide = pixels.shape[:2]
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, float(wide)), min(box.y + box.height, float(high))
    inside = max(right - left, 0.0) * max(bottom - top, 0.0) / (box.width * box.height)
    at_an_edge = left <= 1 or top <= 1 or right >= wide - 1 or bottom >= high - 1
    if inside <= 0 or (rules.cut_off < 1 and (at_an_edge or inside < 1 - rules.cut_off)):
        return "cut_off"
    rows, columns = (
        slice(int(start), max(int(start) + 1, round(end))) for start, end in ((top, bottom), (left, right))
    )
    return pixels[rows, columns]


def look(picture: UInt8[np.ndarray, "h w 3"]) -> Look:
    """Return sharpness and small picture of a crop.

    Sharpness is the variance of the Laplacian of the grey picture, brought to 64 x 128 pixels, over its own variance,
    so that neither size nor contrast of the crop makes it sharp.
    """
    image = Image.fromarray(picture)
    grey = np.asarray(image.convert("L").resize(_LOOK_PX, Image.Resampling.BILINEAR), np.float64)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    small = np.asarray(image.resize(_SMALL_PX, Image.Resampling.BOX))
    return Look(float(laplacian.var() / (inner.var() + 1.0)), small)


def thinned(looks: Sequence[Look], rules: Rules) -> list[str]:
    """Return for each crop of a tracklet, in order of time, the rule that leaves it out; empty where it is kept."""
    median = float(np.median([seen.sharpness for seen in looks])) if looks else 0.0
    why: list[str] = []
    before: UInt8[np.ndarray, "h w 3"] | None = None
    for seen in looks:
        if seen.sharpness < rules.blurred * median:
            why.append("blurred")
        elif before is not None and _difference(before, seen.small) < rules.alike:
            why.append("alike")
        else:
            why.append("")
            before = seen.small
    return why


def _difference(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h w 3"]) -> float:
    return float(np.abs(one.astype(np.float64) - other).mean() / 255)
