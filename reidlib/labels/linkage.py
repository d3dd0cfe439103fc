"""Average linkage, exact on the sparse distance graph: no dense matrix, no approximation."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64, Int32, Int64
from pydantic import Field

from reidlib.labels import constraint_kernels, kernels, linkage_kernels
from reidlib.labels.constraints import Constraints, apart_lists
from reidlib.labels.constraints import constraints as unconstrained
from reidlib.labels.graphs import Distances, graph_arrays, pair_quantile
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import silhouette
from reidlib.settings import Count

IMAGES_PER_CLUSTER = (1.25, 50.0)  # fewest and most, between which the number of clusters of best silhouette is sought
CUTS = 24  # tried between them


def average_linkage(distances: Distances, constraints: Constraints | None = None) -> Float64[np.ndarray, "m 4"]:
    """Every merge of average linkage (UPGMA) below distance 1, in scipy's linkage layout, by increasing height.

    The average distance of clusters A and B is 1 - S(A, B) / (|A| |B|), where S sums the similarities of the stored
    pairs alone. The rule is reducible, so a nearest-neighbour chain [Müllner, arXiv:1109.2378] finds the
    merges of scipy.cluster.hierarchy.linkage(method="average") on the dense matrix. Each of its at most 3n
    steps reads one cluster's row; memory is 8 bytes per stored entry plus some arrays of n.

    Similarities are summed in whole numbers of 2^-31, exact but for distances below 2^-8. Ties are broken as scipy
    breaks them: the previous cluster of the chain, else the lowest slot, where a merged cluster keeps the
    higher slot of the two.

    With constraints the rows of a group are one cluster from the first (merged at height 0), and of the pairs of
    clusters those that hold groups kept apart are never merged: every merge is of the closest two of the other pairs,
    by the average distance of all their rows. That is average linkage with an infinite distance between what is kept
    apart, a rule that is reducible too; so the chain stays exact, and costs what it costs without, beside reading what
    a cluster is kept apart from with its row.

    Args:
        distances: the sparse graph of all pairs below distance 1.
        constraints: groups of rows that belong together, and of groups that do not.

    Returns:
        float64 rows (cluster, cluster, height, size): m = n - (connected components of the pairs below 1), or fewer
        where constraints keep more apart; what is left over has distance exactly 1, or infinite, and is not merged.

    Raises:
        ValueError: where a stored distance is outside [0, 1], or the graph turns out not to be symmetric.
    """
    starts, columns, values = graph_arrays(distances)
    n = len(starts) - 1
    words = linkage_kernels.similarities(values)
    nodes, apart_starts, apart = _by_row(constraints or unconstrained(n))
    if len(apart):
        constraint_kernels.separate(starts, columns, words, nodes, apart_starts, apart)
    first, second, similarity = linkage_kernels.chain(starts, columns.copy(), words, nodes, apart_starts, apart)
    if np.isnan(similarity).any():
        raise ValueError("linkage: distances: expected a symmetric graph, found a pair stored on one side alone")
    heights = 1 - similarity * linkage_kernels.UNIT
    given = np.flatnonzero(nodes != np.arange(n)).astype(np.int32)
    first, second = np.concatenate([given, first]), np.concatenate([nodes[given], second])
    heights = np.concatenate([np.zeros(len(given)), heights])
    order = np.argsort(heights, kind="stable")
    return kernels.numbered_merges(n, first[order], second[order], heights[order])


def _by_row(
    constraints: Constraints,
) -> tuple[Int32[np.ndarray, "n"], Int64[np.ndarray, "starts"], Int32[np.ndarray, "twice_p"]]:
    """Return the row that stands for each row's group, its highest; and what each such row is kept apart from."""
    n = len(constraints)
    highest = np.zeros(len(constraints.sizes), np.int32)
    np.maximum.at(highest, constraints.groups, np.arange(n, dtype=np.int32))
    return highest[constraints.groups], *apart_lists(highest[constraints.apart], nodes=n)


def linkage(
    distances: Distances,
    *,
    n_clusters: Count | Literal["silhouette"] | None = None,
    images_per_cluster: Annotated[float, Field(ge=1)] | None = None,
    distance_threshold: Annotated[float, Field(gt=0, le=1)] | None = None,
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None,
    singletons: Literal["outliers", "classes"] = "outliers",
    constraints: Constraints | None = None,
) -> Int32[np.ndarray, "n"]:
    """Clusters of average linkage, cut where exactly one of the four settings says.

    Args:
        distances: the sparse graph of all pairs below distance 1.
        n_clusters: stop at this many clusters, singletons counted. Merges at distance 1 are arbitrary and never made:
            where the graph has more connected components than that, the components are the clusters. "silhouette":
            see ``best_number``.
        images_per_cluster: n_clusters = n // images_per_cluster, at least 1 (ICSR: 5 [arXiv:2304.12634]).
        distance_threshold: make the merges at most this high; those at 1 are never made.
        quantile: distance_threshold as a quantile of all pairwise distances, those not stored being 1 (IIDS: 0.0025
            inside a camera, 0.0017 across).
        singletons: whether rows that nothing was merged with are outliers, or clusters as the others are (ICSR).
        constraints: rows that belong together, which are no clusters less than their groups, and groups kept apart;
            see `average_linkage`.

    Returns:
        int32 labels numbered by first appearance, -1 = outlier.

    Raises:
        ValueError: where not exactly one of the four is given, or it is out of range; as ``average_linkage``.
    """
    n = distances.shape[0]
    cuts = {"n_clusters": n_clusters, "images_per_cluster": images_per_cluster}
    check_one_given("linkage", cuts | {"distance_threshold": distance_threshold, "quantile": quantile})
    if images_per_cluster is not None:
        n_clusters = clusters_for(n, images_per_cluster=images_per_cluster)
    if isinstance(n_clusters, int) and not 1 <= n_clusters <= max(n, 1):
        raise ValueError(f"linkage: n_clusters: expected 1 to {n} for {n} rows, found {n_clusters}")
    if quantile is not None:
        distance_threshold = pair_quantile(distances, quantile=quantile)
    merges = average_linkage(distances, constraints)
    if n_clusters == "silhouette":
        made = silhouette_cut(distances, merges, constraints)
    else:
        made = n - n_clusters if n_clusters is not None else int((merges[:, 2] <= distance_threshold).sum())
    given = 0 if constraints is None else n - len(constraints.sizes)
    clusters = kernels.cut(n, merges[: max(made, given)])
    return number_clusters(clusters, smallest=2 if singletons == "outliers" else 1)


def silhouette_cut(distances: Distances, merges: Float64[np.ndarray, "m 4"], constraints: Constraints | None) -> int:
    """Return how many of the merges are made, by the best silhouette; see `best_number`.

    With a person's answers, those as high as the highest one that is made without them (`Constraints.before`).
    """
    n = distances.shape[0]
    if constraints is None or constraints.before is None:
        return n - best_number(distances, merges, constraints)
    before = average_linkage(distances, constraints.before)
    made = n - best_number(distances, before, constraints.before)
    return int((merges[:, 2] <= (before[made - 1, 2] if made else 0.0)).sum())


def best_number(
    distances: Distances, merges: Float64[np.ndarray, "m 4"], constraints: Constraints | None = None
) -> int:
    """Return the number of clusters, singletons counted, whose silhouette over all rows is best, a singleton's being 0.

    24 numbers are tried, from 1.25 to 50 nodes to a cluster in equal ratios, as far as merges go; of equally good ones
    the largest number is taken. Where groups are known, 24 more between the two tried next to the best one are.
    Time: a pass over the stored pairs for each.

    Args:
        distances: of the rows.
        merges: of all rows, those inside nodes first.
        constraints: by which the merges were made; their groups are the nodes, and left out of the silhouette, see
            `reidlib.labels.quality.silhouette`. None: each row is a node.
    """
    n = distances.shape[0]
    groups = (constraints or unconstrained(n)).groups
    fewest, most = n - len(merges), int(groups.max(initial=-1)) + 1
    numbers = _whole(most / np.geomspace(*IMAGES_PER_CLUSTER, CUTS), at_least=max(fewest, 2), below=most)
    if not numbers:
        return max(fewest, 1)

    def best(among: list[int]) -> int:
        return int(np.argmax([silhouette(distances, kernels.cut(n, merges[: n - k]), groups=groups) for k in among]))

    place = best(numbers)
    if most == n:
        return numbers[place]
    more, fewer = numbers[max(place - 1, 0)], numbers[min(place + 1, len(numbers) - 1)]
    between = _whole(np.linspace(more, fewer, CUTS), at_least=fewer, below=most)
    return between[best(between)]


def _whole(numbers: Float64[np.ndarray, "_"], *, at_least: int, below: int) -> list[int]:
    """Return the numbers, rounded, each once, that are in the range, from the largest to the smallest."""
    return [int(number) for number in np.unique(np.rint(numbers).astype(int))[::-1] if at_least <= number < below]


def check_one_given(where: str, settings: Mapping[str, float | str | None]) -> None:
    """Raise a ValueError unless exactly one of the settings is given; the others are None."""
    given = {name: value for name, value in settings.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"{where}: expected exactly one of {', '.join(settings)}; found {given or 'none'}")


def clusters_for(n: int, *, images_per_cluster: float | int) -> int:
    """N // images_per_cluster, at least one.

    >>> clusters_for(17, images_per_cluster=5), clusters_for(3, images_per_cluster=5)
    (3, 1)
    """
    return max(1, int(n // images_per_cluster))
