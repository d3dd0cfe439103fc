"""Which clusters are most nearly one, and which most nearly two: where a person who looks finds mistakes first.

Both are told by P(same) of pairs of pictures, which the calibration learnt without an identity: 1/2 and more between
two clusters, over all pairs, says that they are more likely than not of one individual; less than 1/2 between the two
halves of one cluster, over the pairs most alike, that it is more likely than not of two. (All pairs of the halves would
say so of many a cluster that is rightly one: halves are chosen to be unlike.)
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int8, Int32, Int64, Integer
from scipy.cluster.hierarchy import fcluster, linkage

from reidlib.calibration.calibration import Calibration
from reidlib.labels.centres import cluster_centres
from reidlib.neighbours.search import nearest

MEMBERS = 300  # of a cluster that are looked at: its first, which are any, since images are ordered by a hash
NEAREST = 8  # clusters that each is compared with: those whose centres are nearest

Embeddings = Float32[np.ndarray, "n d"]
Labels = Int32[np.ndarray, "n"]
Numbers = Integer[np.ndarray, "n"]
Rows = Int64[np.ndarray, "_"]


def members_of(labels: Labels, *, most: int = MEMBERS) -> list[Rows]:
    """Return the rows of each cluster 0..C-1, at most so many of each, ascending."""
    inside = np.flatnonzero(labels >= 0)
    order = inside[np.argsort(labels[inside], kind="stable")]
    ends = np.cumsum(np.bincount(labels[inside], minlength=1))
    return [rows[:most].astype(np.int64) for rows in np.split(order, ends[:-1])] if len(inside) else []


def probabilities(
    one: Rows, other: Rows, embeddings: Embeddings, cameras: Numbers, calibration: Calibration
) -> Float64[np.ndarray, "_ _"]:
    """Return P(same) of each pair of a row of `one` and a row of `other`."""
    cosines = np.clip(embeddings[one] @ embeddings[other].T, -1, 1)
    return calibration.probability(cosines, (cameras[one][:, None], cameras[other][None]))


def nearly_one(embeddings: Embeddings, labels: Labels, cameras: Numbers, calibration: Calibration) -> pd.DataFrame:
    """Return pairs of clusters, those that are most nearly one first.

    Args:
        embeddings: unit-norm rows.
        labels: clusters 0..C-1 without gaps, -1 = outlier.
        cameras: by the numbers that the calibration knows.
        calibration: what cosines mean.

    Returns:
        Columns first and second (clusters, first < second) and same (0..1, the mean P(same) of their pairs of pictures;
        of at most `MEMBERS` of each), for each cluster and the `NEAREST` whose centres are nearest to its own.
    """
    members = members_of(labels)
    pairs = _near_pairs(embeddings, labels, len(members))
    table = pd.DataFrame(pairs, columns=["first", "second"]).astype("int32")
    table["same"] = np.array(
        [probabilities(members[a], members[b], embeddings, cameras, calibration).mean() for a, b in pairs], np.float64
    )
    return table.sort_values(["same", "first", "second"], ascending=[False, True, True], ignore_index=True)


def _near_pairs(embeddings: Embeddings, labels: Labels, clusters: int) -> list[tuple[int, int]]:
    if clusters < 2:
        return []
    found = nearest(cluster_centres(embeddings, labels), k=min(NEAREST + 1, clusters)).indices
    return sorted({(min(a, b), max(a, b)) for a, row in enumerate(found.tolist()) for b in row if a != b})


def nearly_two(
    embeddings: Embeddings, labels: Labels, cameras: Numbers, calibration: Calibration
) -> tuple[Float64[np.ndarray, "clusters"], Int8[np.ndarray, "n"]]:
    """Return for each cluster how surely its two halves are the same individual, and who is in which half.

    The halves are those of Ward's linkage [Ward, 1963] cut at its last step, so that a lone stray is one only where
    nothing parts better. Arguments as of `nearly_one`.

    Returns:
        The mean, over the pictures of the cluster, of P(same) with the picture of the other half that is surest the
        same, 0..1, NaN for a cluster of one picture; and 0 (the larger half, or that of the first row) or 1 for each
        picture, -1 for outliers and what is beyond the first `MEMBERS`.
    """
    members = members_of(labels)
    same, halves = np.full(len(members), np.nan), np.full(len(labels), -1, np.int8)
    for cluster, rows, second in _halved(embeddings, members):
        halves[rows] = second
        across = probabilities(rows[second == 0], rows[second == 1], embeddings, cameras, calibration)
        same[cluster] = np.concatenate([across.max(axis=0), across.max(axis=1)]).mean()
    for rows in members:
        halves[rows] = np.maximum(halves[rows], 0)
    return same, halves


def _halved(embeddings: Embeddings, members: list[Rows]) -> Iterator[tuple[int, Rows, Int8[np.ndarray, "_"]]]:
    """Yield each cluster that can be halved, its rows and the half of each."""
    for cluster, rows in enumerate(members):
        if len(rows) < 2:
            continue
        parts = fcluster(linkage(embeddings[rows].astype(np.float64), "ward"), 2, "maxclust")
        if parts.min() == parts.max():  # all alike: any half will do
            parts = np.where(np.arange(len(rows)) < (len(rows) + 1) // 2, 1, 2)
        sizes = np.bincount(parts, minlength=3)[1:]
        larger = parts[0] if sizes[0] == sizes[1] else 1 + int(np.argmax(sizes))
        yield cluster, rows, (parts != larger).astype(np.int8)
