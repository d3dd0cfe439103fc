"""Contact sheets: clusters (or identities) as rows of images from different cameras, to see what a cluster holds."""

from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64, UInt8

from reidlib.report.style import NEUTRAL, PAD, new_figure, save, show_image, show_text

CELL_HEIGHT = 1.5  # inches of one image


def draw_contact_sheet(
    images: UInt8[np.ndarray, "n h w 3"],
    groups: Int[np.ndarray, "n"],
    cameras: Int[np.ndarray, "n"],
    path: Path,
    *,
    title: str,
    rows: int = 8,
    columns: int = 10,
    noun: str = "cluster",
) -> None:
    """Rows of images of the same group; groups below 0 (outliers, junk) are not shown.

    The groups are taken evenly over the sizes, from the largest to the smallest, so that the sheet shows good and bad
    ones alike; in a group the cameras take turns, and the images shown are ordered by camera.

    Raises:
        ValueError: no group to show.
    """
    chosen = _even_choice(groups, count=rows)
    if chosen.size == 0:
        raise ValueError(f"{path.name}: expected at least one {noun} to show, found none among {groups.size} images")
    height, width = images.shape[1:3]
    cell = max(CELL_HEIGHT * width / height, 0.75) + 2 * PAD
    figure = new_figure(cell * columns + 1.5, (CELL_HEIGHT + 0.2 + 2 * PAD) * chosen.size + 0.4, title=title)
    grid = figure.add_gridspec(chosen.size, columns + 1, width_ratios=[1.3 / cell, *[1] * columns])
    for line, group in enumerate(chosen):
        members = np.flatnonzero(groups == group)
        seen = np.unique(cameras[members]).size
        text = f"{noun} {group}\n{_plural(members.size, 'image')}\n{_plural(seen, 'camera')}"
        show_text(figure.add_subplot(grid[line, 0]), text)
        for place, member in enumerate(_cameras_in_turn(members, cameras[members], count=columns)):
            axes = figure.add_subplot(grid[line, place + 1])
            show_image(axes, images[member])
            axes.set_title(f"camera {cameras[member]}", fontsize=8, color=NEUTRAL, pad=3)
    save(figure, path)


def _even_choice(groups: Int[np.ndarray, "n"], *, count: int) -> Int64[np.ndarray, "c"]:
    """Up to `count` group numbers, evenly over the groups ordered by decreasing size (ties by number)."""
    numbers, sizes = np.unique(groups[groups >= 0], return_counts=True)
    ordered = numbers[np.argsort(-sizes, kind="stable")].astype(np.int64)
    places = np.linspace(0, ordered.size - 1, min(count, ordered.size)).round().astype(np.int64)
    return ordered[places]


def _cameras_in_turn(
    members: Int64[np.ndarray, "m"], cameras: Int[np.ndarray, "m"], *, count: int
) -> Int64[np.ndarray, "c"]:
    """Up to `count` members: the first of every camera, then the second of every camera, ...; ordered by camera."""
    order = np.argsort(cameras, kind="stable")
    _, starts, sizes = np.unique(cameras[order], return_index=True, return_counts=True)
    turn = np.arange(members.size) - np.repeat(starts, sizes)
    taken = np.sort(np.argsort(turn, kind="stable")[:count])
    return members[order[taken]]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
