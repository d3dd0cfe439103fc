"""Average linkage, exact on the sparse distance graph: no dense matrix, no approximation."""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64, Int32
from pydantic import Field

from reidlib.labels import kernels, linkage_kernels
from reidlib.labels.graphs import Distances, graph_arrays, pair_quantile
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import silhouette
from reidlib.settings import Count

IMAGES_PER_CLUSTER = (1.25, 50.0)  # fewest and most, between which the number of clusters of best silhouette is sought
CUTS = 24  # tried between them


def average_linkage(distances: Distances) -> Float64[np.ndarray, "m 4"]:
    """Every merge of average linkage (UPGMA) below distance 1, in scipy's linkage layout, by increasing height.

    The average distance of clusters A and B is 1 - S(A, B) / (|A| |B|), where S sums the similarities of the stored
    pairs alone. The rule is reducible, so a nearest-neighbour chain [Müllner, arXiv:1109.2378] finds the
    merges of scipy.cluster.hierarchy.linkage(method="average") on the dense matrix. Each of its at most 3n
    steps reads one cluster's row; memory is 8 bytes per stored entry plus some arrays of n.

    Similarities are summed in whole numbers of 2^-31, exact but for distances below 2^-8. Ties are broken as scipy
    breaks them: the previous cluster of the chain, else the lowest slot, where a merged cluster keeps the
    higher slot of the two.

    Returns:
        float64 rows (cluster, cluster, height, size): m = n - (connected components of the pairs below 1); what is
        left over has distance exactly 1 and is not merged.

    Raises:
        ValueError: where a stored distance is outside [0, 1], or the graph turns out not to be symmetric.
    """
    starts, columns, values = graph_arrays(distances)
    n = len(starts) - 1
    words = linkage_kernels.similarities(values)
    first, second, similarity = linkage_kernels.chain(starts, columns.copy(), words)
    if np.isnan(similarity).any():
        raise ValueError("linkage: distances: expected a symmetric graph, found a pair stored on one side alone")
    heights = 1 - similarity * linkage_kernels.UNIT
    order = np.argsort(heights, kind="stable")
    return kernels.numbered_merges(n, first[order], second[order], heights[order])


def linkage(
    distances: Distances,
    *,
    n_clusters: Count | Literal["silhouette"] | None = None,
    images_per_cluster: Annotated[float, Field(ge=1)] | None = None,
    distance_threshold: Annotated[float, Field(gt=0, le=1)] | None = None,
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None,
    singletons: Literal["outliers", "classes"] = "outliers",
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
    merges = average_linkage(distances)
    if n_clusters == "silhouette":
        n_clusters = best_number(distances, merges)
    made = n - n_clusters if n_clusters is not None else int((merges[:, 2] <= distance_threshold).sum())
    return number_clusters(kernels.cut(n, merges[:made]), smallest=2 if singletons == "outliers" else 1)


def best_number(distances: Distances, merges: Float64[np.ndarray, "m 4"]) -> int:
    """Return the number of clusters, singletons counted, whose silhouette over all rows is best, a singleton's being 0.

    24 numbers are tried, from 1.25 to 50 rows to a cluster in equal ratios, as far as merges go; of equally good ones
    the largest number is taken. Time: a pass over the stored pairs for each.
    """
    n = distances.shape[0]
    fewest = n - len(merges)
    tried = np.unique(np.rint(n / np.geomspace(*IMAGES_PER_CLUSTER, CUTS)).astype(int))[::-1]
    numbers = [int(number) for number in tried if max(fewest, 2) <= number < n]
    if not numbers:
        return max(fewest, 1)
    found = [silhouette(distances, kernels.cut(n, merges[: n - number])) for number in numbers]
    return numbers[int(np.argmax(found))]


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
