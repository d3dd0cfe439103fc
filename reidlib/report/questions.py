"""The pairs that are worth a person's answer, as pages show them: two pictures, and strips of further ones of each."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64

from reidlib.labels.asking import Asking, Side

QUESTIONS = 50  # of the report, which cannot make clusters anew by the answers
OF_TRACKLET, OF_CLUSTER = 4, 8  # further pictures of each, at most
Rows = Int64[np.ndarray, "_"]
Sides = tuple[Side, Side]


def strips(side: Side) -> Iterator[tuple[str, Rows, int]]:
    """Yield the further pictures of one of a pair: what they are, the rows that are shown, and how many there are."""
    for title, rows, most in (
        ("Its tracklet", side.tracklet, OF_TRACKLET),
        ("Taken for the same so far", side.cluster, OF_CLUSTER),
    ):
        if len(rows):
            yield title, rows[:most], len(rows)


def questions(asking: Asking) -> list[Sides]:
    """Return the pairs that the report asks about, those first that change most; no identity is looked at."""
    return [asking.sides(pair) for pair in asking.propose(QUESTIONS)]


def rows_of(asked: list[Sides]) -> list[int]:
    """Return the rows of all pictures that are shown with the questions."""
    sides = [side for pair in asked for side in pair]
    return [row for side in sides for row in (side.row, *(row for _, rows, _ in strips(side) for row in rows.tolist()))]


def page_questions(asking: Asking, asked: list[Sides], shown: Rows) -> Mapping[str, Any]:
    """Return what the page's script knows of the questions.

    Args:
        asking: what is known, and what images are called in links.csv.
        asked: `questions`.
        shown: rows of the training images that the page holds, ascending; pictures are told by their place in it.

    Returns:
        pairs: two sides each, with picture, name, group (of images that are known to be the same) and strips (title,
        pictures, how many there are); apart: pairs of these groups that are known to be different.
    """
    known = asking.constraints()
    groups = np.arange(len(asking.split)) if known is None else known.groups
    ours = np.unique([groups[side.row] for pair in asked for side in pair])
    apart = [] if known is None else known.apart[np.isin(known.apart, ours).all(axis=1)].tolist()

    def told(side: Side) -> dict[str, Any]:
        return {
            "picture": int(np.searchsorted(shown, side.row)),
            "name": asking.name(side.row),
            "group": int(groups[side.row]),
            "strips": [(title, np.searchsorted(shown, rows).tolist(), total) for title, rows, total in strips(side)],
        }

    return {"pairs": [[told(side) for side in pair] for pair in asked], "apart": apart}
