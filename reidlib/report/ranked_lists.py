"""Ranked lists of a few queries as a picture: the query, then its best gallery images, right and wrong ones framed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from reidlib.report.style import NEUTRAL, PAD, RIGHT, TEXT, WRONG, new_figure, save, show_image, show_text

CELL_HEIGHT = 1.75  # inches of one image
LEGEND = (
    "gallery images, best match first; \N{CHECK MARK} solid green: the query's identity, "
    "\N{BALLOT X} dashed red: another one"
)


@dataclass(frozen=True)
class Split:
    """The images of a split with what is known of each: (n, h, w, 3) pixels (a memory map will do), and two columns."""

    images: UInt8[np.ndarray, "n h w 3"]
    identities: Int[np.ndarray, "n"]
    cameras: Int[np.ndarray, "n"]


def draw_ranked_lists(
    query: Split, gallery: Split, lists: Mapping[int, Int[np.ndarray, "_"]], path: Path, *, title: str
) -> None:
    """One row per query: `lists` gives the gallery rows, best first, of each query row.

    A right image has a solid green frame and a tick, a wrong one a dashed red frame and a cross, so that the two are
    told apart without colour; every image carries its camera's number.

    Raises:
        ValueError: no list, or only empty ones.
    """
    columns = max((len(rows) for rows in lists.values()), default=0)
    if columns == 0:
        raise ValueError(f"{path.name}: expected at least one query with a ranked list, found {len(lists)} empty lists")
    height, width = query.images.shape[1:3]
    cell = max(CELL_HEIGHT * width / height, 0.8) + 2 * PAD
    figure = new_figure(
        max(cell * (columns + 1) + 1.2, 6.8), (CELL_HEIGHT + 0.2 + 2 * PAD) * len(lists) + 0.7, title=title
    )
    figure.supxlabel(LEGEND, fontsize=9, color=NEUTRAL)
    grid = figure.add_gridspec(len(lists), columns + 2, width_ratios=[1.2 / cell, *[1] * (columns + 1)])
    for line, (row, ranked) in enumerate(lists.items()):
        right = (gallery.identities[ranked] == query.identities[row]) & (query.identities[row] > 0)
        text = f"query {row}\ncamera {query.cameras[row]}\n{right.sum()} of {len(ranked)} right"
        show_text(figure.add_subplot(grid[line, 0]), text)
        show_image(figure.add_subplot(grid[line, 1]), query.images[row], frame=TEXT)
        for place, item in enumerate(ranked):
            axes = figure.add_subplot(grid[line, place + 2])
            colour = RIGHT if right[place] else WRONG
            show_image(axes, gallery.images[item], frame=colour, dashed=not right[place])
            mark = "\N{CHECK MARK}" if right[place] else "\N{BALLOT X}"
            axes.set_title(f"{mark} camera {gallery.cameras[item]}", fontsize=8.5, color=colour)
    save(figure, path)
