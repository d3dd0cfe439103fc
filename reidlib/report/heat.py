"""Heat-maps as pictures: bright where a region makes two pictures alike."""

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from reidlib.report.material import Material
from reidlib.report.queries import Pair
from reidlib.report.thumbnails import data_uri

MIX = 0.62  # share of the colour over the grey picture
Map = Float32[np.ndarray, "rows columns"]
Picture = UInt8[np.ndarray, "h w 3"]


def heat_pair(
    pair: Pair, pictures: tuple[Picture, Picture], maps: tuple[Map, Map], material: Material
) -> dict[str, Any]:
    """Return what the template shows of a pair: why, how alike, and both pictures plain and with their heat.

    Both maps have one scale, from the lowest value of the two to the highest, so that their colours can be compared.
    """
    ends = (min(float(map_.min()) for map_ in maps), max(float(map_.max()) for map_ in maps))
    vectors = [material.embeddings[split][row] for split, row in (pair.one, pair.other)]
    cameras = [material.splits[split].cameras[row] for split, row in (pair.one, pair.other)]
    cosine = float(np.clip(vectors[0] @ vectors[1], -1, 1))
    same = float(material.calibration.probability(cosine, (cameras[0], cameras[1])))
    sides = [
        {"plain": data_uri(picture), "heat": data_uri(heated(picture, map_, ends=ends)), "name": name,
         "where": brightest(map_)}
        for picture, map_, name in zip(pictures, maps, ("one", "two"), strict=True)
    ]  # fmt: skip
    return {"why": pair.why, "told": f"cosine {cosine:.2f}, P(same) {same:.2f}", "sides": sides}


def heated(picture: Picture, map_: Map, *, ends: tuple[float, float]) -> Picture:
    """Return the picture in grey below the colours of a map, dark at the lower end and bright at the upper."""
    from matplotlib import colormaps

    height, width = picture.shape[:2]
    extent = ends[1] - ends[0]
    levels = np.clip((map_ - ends[0]) / extent, 0, 1) if extent > 0 else np.full(map_.shape, 0.5)
    wide = Image.fromarray(levels.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    colours = np.asarray(colormaps["inferno"](np.clip(np.asarray(wide), 0, 1)))[..., :3] * 255
    grey = picture.mean(axis=2, keepdims=True)
    return np.rint(MIX * colours + (1 - MIX) * grey).astype(np.uint8)


def brightest(map_: Map) -> str:
    """Say in words where a map is brightest, for who cannot see it.

    >>> brightest(np.array([[0, 0], [0, 0], [1, 0]], np.float32))
    'brightest below, on the left'
    """
    row, column = np.unravel_index(int(np.argmax(map_)), map_.shape)
    down, across = (int(3 * (place + 0.5) / side) for place, side in zip((row, column), map_.shape, strict=True))
    return (
        f"brightest {('above', 'in the middle', 'below')[down]}, {('on the left', 'centred', 'on the right')[across]}"
    )
