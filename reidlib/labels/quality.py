"""How good labels are: against identities (after training only), and without them."""

import numpy as np
from jaxtyping import Float, Int

from reidlib.labels import kernels
from reidlib.labels.graphs import Distances, graph_arrays
from reidlib.labels.numbering import group_numbers, number_clusters, separate_outliers
from reidlib.neighbours.blocks import each_block

BLOCK_ROWS = 256  # looked at together by one thread


def label_quality(labels: Int[np.ndarray, "n"], identities: Int[np.ndarray, "n"]) -> dict[str, float]:
    """Agreement of labels with identities; every outlier (-1) counts as a cluster of its own.

    - pairwise: of the pairs in one cluster the share of one identity (precision), of the pairs of one identity
      the share in one cluster (recall), and their harmonic mean; a share of no pairs is 0.
    - bcubed [Bagga & Baldwin, 1998]: each row's share of its cluster that is of its identity, and of its identity that
      is in its cluster, averaged over the rows; f is the harmonic mean of the two averages.
    - expansion: the mean number of clusters that an identity is split over (1 = never split).
    - nmi: mutual information over the arithmetic mean of the entropies (1 where both are one class).
    - clusters: how many (outliers not counted); outlier_share: outliers over rows.

    Time and memory grow with the rows: the contingency table is sparse. Leave distractors out beforehand. Own code,
    since scikit-learn has no BCubed and counts anew for NMI and for pairs: five times as long for a million rows
    (`benchmarks.quality`), ten times for a thousand, and its import takes two seconds.

    >>> quality = label_quality(np.array([0, 0, 1, -1]), np.array([5, 5, 5, 6]))
    >>> [round(quality[name], 3) for name in ("pairwise_precision", "pairwise_recall", "bcubed_recall", "expansion")]
    [1.0, 0.333, 0.667, 1.5]
    """
    if len(labels) != len(identities) or len(labels) == 0:
        raise ValueError(
            f"label_quality: expected an identity per label, and some; found {len(labels)} and {len(identities)}"
        )
    n = len(labels)
    clusters = separate_outliers(number_clusters(labels))
    _, truth = np.unique(identities, return_inverse=True)
    truth = truth.reshape(-1).astype(np.int64)
    cells, shared = np.unique(clusters * (int(truth.max()) + 1) + truth, return_counts=True)
    cluster_of, identity_of = np.divmod(cells, int(truth.max()) + 1)
    cluster_sizes, identity_sizes = np.bincount(clusters), np.bincount(truth)
    of_cluster, of_identity = cluster_sizes[cluster_of], identity_sizes[identity_of]
    together, in_clusters, in_identities = (
        float((sizes * (sizes - 1)).sum()) for sizes in (shared, cluster_sizes, identity_sizes)
    )
    squares = shared.astype(np.float64) ** 2
    of_its_cluster, of_its_identity = float((squares / of_cluster).sum() / n), float((squares / of_identity).sum() / n)
    joint, first, second = shared / n, of_cluster / n, of_identity / n
    information = float((joint * (np.log(joint) - np.log(first) - np.log(second))).sum())
    entropy = (_entropy(cluster_sizes / n) + _entropy(identity_sizes / n)) / 2
    return {
        **_precision_recall("pairwise", together / max(in_clusters, 1.0), together / max(in_identities, 1.0)),
        **_precision_recall("bcubed", of_its_cluster, of_its_identity),
        "expansion": len(cells) / len(identity_sizes),
        "nmi": min(max(information / entropy, 0.0), 1.0) if entropy > 0 else 1.0,
        "clusters": float(len(np.unique(labels[labels >= 0]))),
        "outlier_share": float((labels < 0).mean()),
    }


def _precision_recall(name: str, precision: float, recall: float) -> dict[str, float]:
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return {f"{name}_precision": precision, f"{name}_recall": recall, f"{name}_f": harmonic}


def _entropy(shares: Float[np.ndarray, "c"]) -> float:
    return float(-(shares * np.log(shares)).sum())


def silhouette(
    distances: Distances, labels: Int[np.ndarray, "n"], *, groups: Int[np.ndarray, "n"] | None = None
) -> float:
    """Mean silhouette [Rousseeuw, 1987] of the rows that are no outliers, in [-1, 1]; needs no identity.

    Exact where the graph holds every pair below 1 (the others count as 1): scikit-learn's silhouette_score with
    metric="precomputed" on the dense matrix without the outliers. Members of singletons count 0. Time grows with
    the stored pairs.

    With groups of rows that belong together whatever their distances, each in one cluster, a row's mean distance to its
    own cluster is that to the other groups' rows: what is known beforehand says nothing for or against clusters.
    Members of clusters of one group count 0.

    Raises:
        ValueError: where there are fewer than two clusters.
    """
    numbered = number_clusters(labels)
    if distances.shape[0] != len(labels):
        raise ValueError(f"silhouette: expected {distances.shape[0]} labels, one per row, found {len(labels)}")
    sizes = np.bincount(numbered[numbered >= 0])
    if len(sizes) < 2:
        raise ValueError(f"silhouette: expected at least two clusters, found {len(sizes)}")
    groups = np.arange(len(labels), dtype=np.int32) if groups is None else groups  # one kernel for both
    given, rows = (*graph_arrays(distances), numbered, sizes, groups, np.bincount(groups)), np.zeros(len(labels))
    each_block(lambda *block: kernels.silhouettes(*given, *block, rows), len(rows), size=BLOCK_ROWS)
    return float(rows.sum() / sizes.sum())


def camera_span(labels: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"]) -> float:
    """The share of clusters with members on more than one camera; 0 where there is no cluster.

    >>> camera_span(np.array([0, 0, 1, 1, -1]), np.array([3, 4, 3, 3, 4]))
    0.5
    """
    clustered = labels >= 0
    _, first = np.unique(group_numbers(labels[clustered], cameras[clustered]), return_index=True)
    _, spans = np.unique(labels[clustered][first], return_counts=True)
    return float((spans > 1).mean()) if len(spans) else 0.0


def label_counts(labels: Int[np.ndarray, "n"]) -> dict[str, float]:
    """`clusters`, the number of labels 0..C-1, and `outlier_share`."""
    return {"clusters": float(labels.max(initial=-1) + 1), "outlier_share": float((labels < 0).mean())}


def label_measures(labels: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"]) -> dict[str, float]:
    """What labels show without identities: their counts, and the share of clusters on more than one camera."""
    return label_counts(labels) | {"camera_span": camera_span(labels, cameras)}
