"""Which pictures to look at first: the best, middle and worst queries; and pairs that tell how the network sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from reidlib.neighbours.search import nearest
from reidlib.report.material import Material
from reidlib.report.measures import can_match
from reidlib.retrieval.metrics import cosine_tiles, evaluate, ranked_list

EACH = 4  # of the best, of the middle and of the worst
SHOWN = 10  # of a ranked list
NEIGHBOURS = 30  # of an image, among which its nearest of another camera is looked for
Where = tuple[str, int]  # a split and a row in it


@dataclass(frozen=True)
class Query:
    """A query that is worth a look, or a training image where no query can be judged.

    Attributes:
        kind: best, middle or worst.
        split: `query` or `train`.
        row: in this split.
        score: its average precision; or P(same) with the image of another camera that is most like it. 0..1.
        ranked: gallery rows, best first, those left out that its camera shows of it; none of a training image.
    """

    kind: str
    split: str
    row: int
    score: float
    ranked: Int64[np.ndarray, "_"]


@dataclass(frozen=True)
class Pair:
    """Two pictures whose regions are to be compared, and why; each a split and a row."""

    why: str
    one: Where
    other: Where


def telling_queries(material: Material) -> list[Query]:
    """Return the queries of the highest, middle and lowest average precision.

    Where no query has a match, training images by how surely their nearest on another camera shows the same individual.
    """
    ids, cameras = material.identities, {name: split.cameras for name, split in material.splits.items()}
    # without camera labels a query is on a camera of its own, so that no match is left out, as `evaluate` has it
    own = cameras["query"] if material.splits["query"].camera_labels else np.full(len(cameras["query"]), -1, np.int16)
    among: dict[str, Any] = {"gallery_identities": ids["gallery"], "gallery_cameras": cameras["gallery"]}
    facts: dict[str, Any] = {"query_identities": ids["query"], "query_cameras": own, **among}
    if not can_match(**facts):
        return telling_images(material)
    vectors = material.embeddings
    found = evaluate(cosine_tiles(vectors["query"], vectors["gallery"]), **facts)
    return [
        Query(kind, "query", row, float(found.average_precisions[row]), ranked_list(
            vectors["query"][row], vectors["gallery"], identity=int(ids["query"][row]), camera=int(own[row]),
            count=SHOWN, **among))
        for kind, rows in best_middle_worst(found.average_precisions).items() for row in rows
    ]  # fmt: skip


def telling_images(material: Material) -> list[Query]:
    """Return training images of the highest, middle and lowest P(same) with their nearest of another camera.

    Of any, where there is one camera. Images whose `NEIGHBOURS` nearest are all of their own camera take no part.
    """
    cameras, vectors = material.splits["train"].cameras, material.embeddings["train"]
    found = nearest(vectors, k=min(NEIGHBOURS + 1, len(vectors)))
    fits = (
        cameras[found.indices] != cameras[:, None] if len(np.unique(cameras)) > 1 else np.ones_like(found.indices, bool)
    )
    fits[:, 0] = False  # the image itself
    rows, column = np.arange(len(vectors)), fits.argmax(axis=1)
    cosines = np.clip(found.similarities[rows, column], -1, 1)
    likely = material.calibration.probability(cosines, (cameras, cameras[found.indices[rows, column]]))
    scores = np.where(fits.any(axis=1), likely, np.nan)
    chosen = best_middle_worst(scores)
    nothing = np.zeros(0, np.int64)
    return [Query(kind, "train", row, float(scores[row]), nothing) for kind, rows in chosen.items() for row in rows]


def best_middle_worst(scores: Float64[np.ndarray, "n"], *, each: int = EACH) -> dict[str, list[int]]:
    """Return rows of the highest, middle and lowest scores, NaN left out, none twice.

    >>> best_middle_worst(np.array([0.1, np.nan, 0.9, 0.5, 0.3]), each=1)
    {'best': [2], 'middle': [3], 'worst': [0]}
    """
    ordered = np.argsort(-scores, kind="stable")[: int(np.isfinite(scores).sum())].tolist()
    each = min(each, -(-len(ordered) // 3))
    start = max((len(ordered) - each) // 2, each)
    middle = ordered[start : start + each]
    worst = [row for row in ordered[::-1][:each] if row not in middle and row not in ordered[:each]]
    return {"best": ordered[:each], "middle": middle, "worst": worst}


def telling_pairs(material: Material, queries: list[Query], one: pd.DataFrame, two: pd.DataFrame) -> list[Pair]:
    """Return pairs for heat-maps: of queries with their first answer, or, without, of the doubtful clusters.

    Args:
        material: of the run.
        queries: as `telling_queries` returns them; the first of each kind is taken, of the worst its first right
            answer too.
        one: pairs of clusters with first_row and second_row, the training images that are most alike.
        two: clusters with first_row and second_row, images of both halves.
    """
    pairs = []
    for kind in ("best", "middle", "worst"):
        for query in [query for query in queries if query.kind == kind and len(query.ranked)][:1]:
            pairs.append(Pair(f"{kind} query and its first answer", ("query", query.row),
                              ("gallery", int(query.ranked[0]))))  # fmt: skip
            right = _first_right(material, query)
            if kind == "worst" and right not in (None, query.ranked[0]):
                pairs.append(Pair("worst query and its first right answer", ("query", query.row), ("gallery", right)))
    if not pairs:
        for row in one.head(2).to_dict("records"):
            why = f"individuals {row['first']} and {row['second']}, nearly one"
            pairs.append(_training_pair(why, row))
        pairs += [
            _training_pair(f"individual {row['cluster']}, nearly two", row) for row in two.head(2).to_dict("records")
        ]
    return pairs


def _training_pair(why: str, row: Mapping[Any, Any]) -> Pair:
    return Pair(why, ("train", int(row["first_row"])), ("train", int(row["second_row"])))


def _first_right(material: Material, query: Query) -> int | None:
    ids, vectors = material.identities, material.embeddings
    elsewhere = material.splits["gallery"].cameras != material.splits["query"].cameras[query.row]
    if not material.splits["query"].camera_labels:
        elsewhere = np.ones_like(elsewhere)
    rows = np.flatnonzero((ids["gallery"] == ids["query"][query.row]) & elsewhere)
    if not len(rows):
        return None
    return int(rows[np.argmax(vectors["gallery"][rows] @ vectors["query"][query.row])])
