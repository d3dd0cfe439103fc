"""Ranked lists: what is framed, chosen and written, and that no text leaves the picture."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from reidlib.images.split import Split
from reidlib.report.measures import choose_queries
from reidlib.report.ranked_lists import draw_ranked_lists
from reidlib.report.style import RIGHT, WRONG


def split(count=20, height=64, width=32):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3)).astype(np.uint8)
    return Split(images, pd.DataFrame({"camera": np.arange(count, dtype=np.int16) % 3}))


def identities(count=20):
    return {side: np.arange(count, dtype=np.int32) % 4 for side in ("query", "gallery")}


def cameras(count=20):
    return {
        side: [("1", "door", "a long name of a camera")[row % 3] for row in range(count)]
        for side in ("query", "gallery")
    }


KNOWN = {"identities": identities(), "cameras": cameras()}


def images_of(figure):
    """The axes that hold images, row by row."""
    return [axes for axes in figure.axes if axes.images]


def test_right_and_wrong_are_told_apart_by_colour_line_and_mark(figures, tmp_path):
    query, gallery = split(), split()
    draw_ranked_lists(
        query, gallery, {1: np.array([5, 6, 9])}, tmp_path / "lists.png", identities=identities(), cameras=cameras()
    )
    shown = images_of(figures[0])
    assert np.array_equal(shown[0].images[0].get_array(), query.images[1])
    for axes, item, right in zip(shown[1:], (5, 6, 9), (True, False, True), strict=True):
        assert np.array_equal(axes.images[0].get_array(), gallery.images[item])
        spine = axes.spines["left"]
        assert to_hex(spine.get_edgecolor()).upper() == (RIGHT if right else WRONG)
        assert (spine.get_linestyle() == "solid") == right
        mark = "\N{CHECK MARK}" if right else "\N{BALLOT X}"
        assert axes.get_title() == f"{mark} {('camera 1', 'door', 'a long na…')[item % 3]}"
    assert "query 1\ndoor\n2 of 3 right" in [text.get_text() for text in figures[0].axes[0].texts]


@pytest.mark.parametrize(("height", "width"), [(128, 64), (64, 64), (50, 120)])
@pytest.mark.parametrize("lists", [{0: np.arange(10), 19: np.arange(4)}, {3: np.array([1])}])
def test_no_text_of_a_ranked_list_is_clipped(figures, parts_outside, tmp_path, height, width, lists):
    shown = split(20, height, width)
    draw_ranked_lists(shown, shown, lists, tmp_path / "l.png", **KNOWN)
    assert parts_outside(figures[0]) == []


def test_distractors_are_never_right(figures, tmp_path):
    draw_ranked_lists(
        split(), split(), {0: np.array([4, 8])}, tmp_path / "lists.png", identities=identities(), cameras=cameras()
    )
    assert "0 of 2 right" in figures[0].axes[0].texts[0].get_text()


def test_queries_are_chosen_from_the_best_to_the_worst():
    precisions = np.array([0.5, np.nan, 1.0, 0.1, 0.7, np.nan])
    assert choose_queries(precisions, count=2) == [2, 3]
    assert choose_queries(precisions, count=3) in ([2, 0, 3], [2, 4, 3])
    assert choose_queries(precisions, count=9) == [2, 4, 0, 3]
    assert choose_queries(np.array([np.nan]), count=3) == []


def test_ranked_lists_from_a_memory_map_make_a_png(tmp_path):
    np.save(tmp_path / "images.npy", split().images)
    mapped = Split(np.load(tmp_path / "images.npy", mmap_mode="r"), split().rows)
    draw_ranked_lists(
        mapped, mapped, {0: np.arange(5)}, tmp_path / "lists.png", identities=identities(), cameras=cameras()
    )
    with Image.open(tmp_path / "lists.png") as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("lists", [{}, {0: np.array([], dtype=np.int64)}])
def test_no_list_is_refused(tmp_path, lists):
    with pytest.raises(ValueError, match="at least one query with a ranked list"):
        draw_ranked_lists(split(), split(), lists, tmp_path / "lists.png", **KNOWN)
