"""Self-paced DBSCAN: only clusters that stay the same when eps moves are kept."""

from typing import Annotated

import numpy as np
from jaxtyping import Float64, Int, Int32
from pydantic import Field

from reidlib.labels.dbscan import Eps, dbscan, resolve_eps
from reidlib.labels.graphs import Distances
from reidlib.labels.numbering import number_clusters, separate_outliers
from reidlib.settings import Count


def self_paced(
    distances: Distances,
    *,
    eps: Eps,
    min_samples: Count,
    gap: Annotated[float, Field(gt=0, lt=0.5)] = 0.02,
    independent_share: Annotated[float, Field(gt=0, le=1)] = 0.9,
) -> Int32[np.ndarray, "n"]:
    """DBSCAN clusters that are independent and compact [Ge et al., NeurIPS 2020, arXiv:2006.02713].

    With I(f) the cluster of f at eps (an outlier's is itself), I_loose at eps + gap and I_tight at eps - gap:
    R_indep(f) = |I ∩ I_loose| / |I ∪ I_loose|, R_comp(f) = |I ∩ I_tight| / |I ∪ I_tight|. A cluster's independence
    is its members' largest R_indep. Members are kept where their cluster's independence reaches the threshold alpha
    and their own R_comp is the largest of their cluster (beta); all others become outliers.
    alpha is the value that the share ``independent_share`` of the clusters reaches.

    Deviation: the paper takes alpha from the first epoch's clusters and keeps it; this function has no memory,
    so alpha is taken from the clusters at hand (see ``independence_threshold``).

    The graph must hold all pairs within eps + gap; eps and min_samples are as in ``dbscan``, the gap is the paper's
    step of eps either way. Labels are numbered by first appearance, -1 = outlier.

    Raises:
        ValueError: where eps ± gap leaves (0, 1).
    """
    middle = resolve_eps(distances, eps=eps, min_samples=min_samples)
    check_radii("self_paced", middle, gap)
    labels, tight, loose = (
        dbscan(distances, eps=radius, min_samples=min_samples) for radius in (middle, middle - gap, middle + gap)
    )
    if labels.max(initial=-1) < 0:
        return labels
    independent = cluster_maxima(overlap(labels, loose), labels)
    compact = overlap(labels, tight)
    threshold = independence_threshold(independent, np.bincount(labels[labels >= 0]), share=independent_share)
    most_compact = cluster_maxima(compact, labels)
    clustered = np.flatnonzero(labels >= 0)
    members = labels[clustered]
    passed = (independent[members] >= threshold) & (compact[clustered] >= most_compact[members])
    kept = np.full_like(labels, -1)
    kept[clustered[passed]] = members[passed]
    return number_clusters(kept)


def check_radii(where: str, eps: float, gap: float) -> None:
    """Raise a ValueError unless eps ± gap is inside (0, 1)."""
    if not (eps - gap > 0 and eps + gap < 1):
        raise ValueError(f"{where}: expected eps ± gap inside (0, 1), found eps={eps}, gap={gap}")


def overlap(labels: Int[np.ndarray, "n"], others: Int[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Intersection over union, in (0, 1], of each row's two clusters; an outlier's cluster is itself.

    >>> overlap(np.array([0, 0, -1]), np.array([0, 0, 0])).round(3).tolist()
    [0.667, 0.667, 0.333]
    """
    first, second = separate_outliers(labels), separate_outliers(others)
    pairs = first * (int(second.max(initial=0)) + 1) + second
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    both = counts[inverse.reshape(-1)]
    return both / (np.bincount(first)[first] + np.bincount(second)[second] - both)


def cluster_maxima(values: Float64[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> Float64[np.ndarray, "c"]:
    """The largest value among each cluster's members (values >= 0; 0 where there is none)."""
    maxima = np.zeros(int(labels.max(initial=-1)) + 1)
    clustered = labels >= 0
    np.maximum.at(maxima, labels[clustered], values[clustered])
    return maxima


def independence_threshold(
    independent: Float64[np.ndarray, "c"], sizes: Int[np.ndarray, "c"], *, share: float
) -> float:
    """alpha: the independence that about the given share of the clusters of two or more members reaches.

    As the published code counts: of the scores in decreasing order, the one at round(share · count).
    """
    scores = np.sort(independent[sizes > 1])[::-1]
    if len(scores) == 0:
        return 0.0
    return float(scores[min(len(scores) - 1, round(len(scores) * share))])
