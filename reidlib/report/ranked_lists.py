"""Ranked lists of a few queries as a picture: the query, then its best gallery images, right and wrong ones framed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes

from reidlib.images.split import Split
from reidlib.report.style import NEUTRAL, PAD, RIGHT, TEXT, WRONG, new_figure, save, show_image, show_text

TITLE = "Ranked lists of the final model"
LONGEST_NAME = 10  # of a camera, above an image
CELL_HEIGHT = 1.75  # inches of one image
LEGEND = (
    "gallery images, best match first; \N{CHECK MARK} solid green: the query's identity, "
    "\N{BALLOT X} dashed red: another one"
)


def draw_ranked_lists(
    query: Split,
    gallery: Split,
    lists: Mapping[int, Int[np.ndarray, "_"]],
    path: Path,
    *,
    identities: Mapping[str, Int[np.ndarray, "_"]],
    cameras: Mapping[str, Sequence[str]],
) -> None:
    """One row per query: `lists` gives the gallery rows, best first, of each query row.

    A right image has a solid green frame and a tick, a wrong one a dashed red frame and a cross, so that the two are
    told apart without colour; every image carries its camera's name. `identities` and `cameras` (names) are those of
    the images of `query` and `gallery`; identities 0 (distractor) and -1 (unknown) are never right.

    Raises:
        ValueError: no list, or only empty ones.
    """
    columns = max((len(rows) for rows in lists.values()), default=0)
    if columns == 0:
        raise ValueError(f"{path.name}: expected at least one query with a ranked list, found {len(lists)} empty lists")
    height, width = query.images.shape[1:3]
    cell = max(CELL_HEIGHT * width / height, 0.8) + 2 * PAD
    width_inches = max(cell * (columns + 1) + 1.2, 6.8)
    figure = new_figure(width_inches, (CELL_HEIGHT + 0.2 + 2 * PAD) * len(lists) + 0.7, title=TITLE)
    figure.supxlabel(LEGEND, fontsize=9, color=NEUTRAL)
    grid = figure.add_gridspec(len(lists), columns + 2, width_ratios=[1.2 / cell, *[1] * (columns + 1)])
    for line, (row, ranked) in enumerate(lists.items()):
        identity = identities["query"][row]
        right = (identities["gallery"][ranked] == identity) & (identity > 0)
        text = f"query {row}\n{_camera(cameras['query'][row])}\n{right.sum()} of {len(ranked)} right"
        show_text(figure.add_subplot(grid[line, 0]), text)
        show_image(figure.add_subplot(grid[line, 1]), query.images[row], frame=TEXT)
        for place, item in enumerate(ranked.tolist()):
            axes = figure.add_subplot(grid[line, place + 2])
            _show_match(axes, gallery.images[item], _camera(cameras["gallery"][item]), right=bool(right[place]))
    save(figure, path)


def _camera(name: str) -> str:
    """Return a camera's name as it fits above an image."""
    return f"camera {name}" if name.isdigit() else name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _show_match(axes: Axes, image: UInt8[np.ndarray, "h w 3"], camera: str, *, right: bool) -> None:
    colour = RIGHT if right else WRONG
    show_image(axes, image, frame=colour, dashed=not right)
    mark = "\N{CHECK MARK}" if right else "\N{BALLOT X}"
    axes.set_title(f"{mark} {camera}", fontsize=8.5, color=colour)
