"""Bottom-up clustering: every image its own cluster at first, a share of them merged in each round of training."""

from typing import Annotated

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32, Int64
from pydantic import Field

from reidlib.labels import kernels
from reidlib.labels.graphs import Distances, graph_arrays
from reidlib.labels.numbering import number_clusters, separate_outliers
from reidlib.settings import NotNegative, Share


def bottom_up(
    distances: Distances,
    *,
    previous: Int[np.ndarray, "n"] | None = None,
    merge_share: Annotated[float, Field(gt=0, lt=1)] = 0.05,
    size_weight: NotNegative = 0.003,
    start_share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    end_share: Share = 0.95,
) -> Int32[np.ndarray, "n"]:
    """One round of bottom-up clustering: the closest clusters of the round before are merged [Lin et al., AAAI 2019].

    The distance of clusters A and B is the smallest of their pairs, plus size_weight · (|A| + |B|), which keeps them of
    like size. A round takes the pairs of clusters by increasing distance, ties in row order, and makes merge_share · n
    merges (at least one); as in the published code, sizes are those before the round, and a cluster may be merged more
    than once in it. Pairs that are not stored are never merged. Time grows with the stored pairs.

    Deviations: the distance is the Jaccard distance of the sparse graph, in [0, 1], where the paper takes the Euclidean
    one of all pairs. The paper starts with a round of training on n classes; here the first labels come from rounds
    made one after the other on the same distances, until start_share · n merges are made. The paper keeps clusters of
    one image as classes; here they are outliers (a batch draws several images of a cluster), and the next round merges
    them like any other.

    Args:
        distances: the sparse graph of all pairs below distance 1.
        previous: the labels to go on from, each outlier a cluster of its own; None: from single images, see above.
        merge_share: merges of a round as a share of the images (the paper's mp).
        size_weight: the paper's λ.
        start_share: merges without `previous`, as a share of the images.
        end_share: merges in all rounds together, as a share of the images; then clusters stay as they are. The paper
            makes 1/mp - 1 rounds.

    Returns:
        int32 labels numbered by first appearance; single images are outliers (-1).

    Raises:
        ValueError: where `previous` are labels of other rows, or a distance is outside [0, 1].
    """
    n = distances.shape[0]
    if previous is not None and len(previous) != n:
        raise ValueError(f"bottom_up: expected previous labels of the {n} rows, found {len(previous)}")
    pairs = _upper_pairs(distances)
    clusters = np.arange(n) if previous is None else separate_outliers(number_clusters(previous))
    merged = n - _count(clusters)
    step = max(1, round(merge_share * n))
    wanted = min(round(end_share * n), round(start_share * n) if previous is None else merged + step)
    while merged < wanted:
        clusters = _merge(clusters, *pairs, size_weight=size_weight, merges=min(step, wanted - merged))
        before, merged = merged, n - _count(clusters)
        if merged == before:
            break  # no stored pair is left between clusters
    return number_clusters(clusters, smallest=2)


def _upper_pairs(
    distances: Distances,
) -> tuple[Int32[np.ndarray, "pairs"], Int32[np.ndarray, "pairs"], Float32[np.ndarray, "pairs"]]:
    """The stored pairs i < j below distance 1, in row order, and their distances."""
    starts, columns, values = graph_arrays(distances)
    rows = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts))
    upper = (columns > rows) & (values < 1)
    return rows[upper], columns[upper], values[upper]


def _merge(
    clusters: Int64[np.ndarray, "n"],
    rows: Int32[np.ndarray, "pairs"],
    columns: Int32[np.ndarray, "pairs"],
    values: Float32[np.ndarray, "pairs"],
    *,
    size_weight: float,
    merges: int,
) -> Int64[np.ndarray, "n"]:
    """The clusters after so many merges, or fewer where no pair is left; numbers may have gaps afterwards."""
    sizes = np.bincount(clusters)
    first, second = clusters[rows], clusters[columns]
    apart = first != second
    first, second = first[apart], second[apart]
    scores = values[apart] + size_weight * (sizes[first] + sizes[second])
    looked_at = 16 * merges
    while True:  # sorting all pairs would take most of the time
        nearest = _smallest(scores, looked_at)
        roots = np.arange(len(sizes))
        left = kernels.join(first[nearest], second[nearest], roots, merges)
        if left == 0 or len(nearest) == len(scores):
            return roots[clusters]
        looked_at *= 8


def _smallest(scores: Float64[np.ndarray, "pairs"], count: int) -> Int64[np.ndarray, "_"]:
    """The places of so many smallest scores (more where the last one ties), in increasing order, ties by place."""
    if count < len(scores):
        places = np.flatnonzero(scores <= np.partition(scores, count)[count])
    else:
        places = np.arange(len(scores))
    return places[np.argsort(scores[places], kind="stable")]


def _count(clusters: Int64[np.ndarray, "n"]) -> int:
    return len(np.unique(clusters))
