"""What the page tells of clusters and queries: computed once, of all images, whatever is shown of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int8, Int32, Int64

from reidlib.labels.centres import cluster_centres
from reidlib.report.doubts import members_of, nearly_one, nearly_two
from reidlib.report.joining import joining_epochs
from reidlib.report.material import Material
from reidlib.report.queries import Pair, Query, telling_pairs, telling_queries

TOLD = 40  # pairs of clusters, and clusters, that are told at most, doubtful or not
DOUBT = 0.5  # P(same) on the wrong side of which a cluster is doubtful: more likely than not


@dataclass(frozen=True)
class Findings:
    """What is told.

    Attributes:
        sizes: images of each cluster.
        spread: mean distance (1 - cosine) of each cluster's images to its centre.
        distances: of each training image to the centre of its cluster, NaN for outliers.
        one: pairs of clusters, most nearly one first: first, second, same (mean P(same)), and first_row and second_row,
            their two images that are most alike.
        two: clusters, most nearly two first: cluster, same (of the halves), first_row, second_row (of the halves).
        halves: of each training image: 0 or 1, -1 where it is in none.
        joined: the epoch from which on each training image lay with its cluster; 0 = never.
        queries: worth a look; none without identities.
    """

    sizes: Int64[np.ndarray, "clusters"]
    spread: Float64[np.ndarray, "clusters"]
    distances: Float32[np.ndarray, "n"]
    one: pd.DataFrame
    two: pd.DataFrame
    halves: Int8[np.ndarray, "n"]
    joined: Int32[np.ndarray, "n"]
    queries: list[Query]

    @cached_property
    def doubtful(self) -> Bool[np.ndarray, "clusters"]:
        """Which clusters are more likely than not one with another, or two."""
        doubtful = np.zeros(len(self.sizes), bool)
        one, two = self.one[self.one["same"] > DOUBT], self.two[self.two["same"] < DOUBT]
        for column in (one["first"], one["second"], two["cluster"]):
            doubtful[column.to_numpy(np.int64)] = True
        return doubtful

    def pairs(self, material: Material) -> list[Pair]:
        """Return the pairs of images that heat-maps are to be drawn of."""
        return telling_pairs(material, self.queries, self.one, self.two)


def find(material: Material) -> Findings:
    """Compute what is told of a run."""
    labels, embeddings = material.labels, material.embeddings["train"]
    cameras, calibration = material.splits["train"].cameras, material.calibration
    sizes = np.bincount(labels[labels >= 0], minlength=int(labels.max(initial=-1)) + 1).astype(np.int64)
    distances = _distances(embeddings, labels)
    one = nearly_one(embeddings, labels, cameras, calibration)
    same, halves = nearly_two(embeddings, labels, cameras, calibration)
    two = pd.DataFrame({"cluster": np.arange(len(sizes), dtype=np.int32), "same": same}).dropna()
    two = two.sort_values(["same", "cluster"], ignore_index=True)
    members = members_of(labels)
    one, two = (table.head(max(TOLD, int(doubtful.sum()))) for table, doubtful in
                ((one, one["same"] > DOUBT), (two, two["same"] < DOUBT)))  # fmt: skip
    apart = [(members[a], members[b]) for a, b in zip(one["first"], one["second"], strict=True)]
    within = [[rows[halves[rows] == half] for half in (0, 1)] for rows in (members[c] for c in two["cluster"])]
    return Findings(
        sizes=sizes,
        spread=np.bincount(labels[labels >= 0], distances[labels >= 0], minlength=len(sizes)) / np.maximum(sizes, 1),
        distances=distances,
        one=_with_rows(one, apart, embeddings),
        two=_with_rows(two, within, embeddings),
        halves=halves,
        joined=joining_epochs(material.epochs, labels),
        queries=telling_queries(material),
    )


def _distances(embeddings: Float32[np.ndarray, "n d"], labels: Int32[np.ndarray, "n"]) -> Float32[np.ndarray, "n"]:
    distances, inside = np.full(len(labels), np.nan, np.float32), labels >= 0
    if inside.any():
        centres = cluster_centres(embeddings, labels)
        cosines = np.einsum("nd,nd->n", embeddings[inside], centres[labels[inside]])
        distances[inside] = np.clip(1 - cosines, 0, 2)
    return distances


def _with_rows(
    table: pd.DataFrame, sides: Iterable[Iterable[Int64[np.ndarray, "_"]]], embeddings: Float32[np.ndarray, "n d"]
) -> pd.DataFrame:
    """Add first_row and second_row, the two images of both sides that are most alike."""
    rows = []
    for one, other in sides:
        cosines = embeddings[one] @ embeddings[other].T
        first, second = np.unravel_index(int(np.argmax(cosines)), cosines.shape)
        rows.append((int(one[first]), int(other[second])))
    found = np.array(rows, np.int64).reshape(-1, 2)
    return table.assign(first_row=found[:, 0], second_row=found[:, 1])
