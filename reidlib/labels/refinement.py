"""ICSR: global clusters cleaned by the clusters that each camera finds on its own."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32

from reidlib.labels.numbering import group_numbers, number_clusters


def information_scores(
    similarities: Float[np.ndarray, "n k"], indices: Int[np.ndarray, "n k"], *, min_similarity: float | int
) -> Float64[np.ndarray, "n"]:
    """How well each row is connected: the sum of 1 / (distance + mean distance) over its kept links.

    A link goes to each of the row's nearest rows, itself left out, whose similarity is at least min_similarity
    (the links of ``infomap``); its distance is 1 - similarity (not below 0), and the mean is that of all kept links.

    Scores are >= 0, and 0 for a row without links. Where every kept link has distance 0 (copies alone) each counts 1:
    the paper's term has no value there.
    """
    kept = (similarities >= min_similarity) & (indices != np.arange(len(indices))[:, None])
    distances = np.maximum(1 - similarities.astype(np.float64), 0)
    mean = distances[kept].mean() if kept.any() else 0.0
    if mean == 0:
        return kept.sum(axis=1).astype(np.float64)
    return np.where(kept, 1 / (distances + mean), 0).sum(axis=1)


def refine(
    global_labels: Int[np.ndarray, "n"],
    local_labels: Int[np.ndarray, "n"],
    cameras: Int[np.ndarray, "n"],
    scores: Float[np.ndarray, "n"],
    *,
    nodes: Literal["one", "all"],
) -> Int32[np.ndarray, "n"]:
    """Refinement with intra-camera similarity [Li et al., ICIP 2023, arXiv:2304.12634].

    A global cluster's information nodes are its members whose score exceeds the mean score of all rows. For an
    information node on camera c in local cluster L, the cluster's members on camera c that are not in L
    become outliers; members on other cameras stay. Two information nodes of one cluster and camera in different
    local clusters thus empty the cluster on that camera. A node without a local cluster (-1) says nothing.

    Deviation: the published code keeps the last information node of each cluster in row order (``nodes="one"``), by
    a variable that is overwritten; the paper speaks of nodes (``nodes="all"``).

    Args:
        global_labels: clusters across cameras, -1 = outlier.
        local_labels: clusters inside cameras, unique over the cameras, -1 = outlier.
        cameras: each row's camera.
        scores: ``information_scores``.
        nodes: which information nodes act.

    Returns:
        int32 labels numbered by first appearance, -1 = outlier; a subset of the global clusters.
    """
    if nodes not in ("one", "all"):
        raise ValueError(f"refine: nodes: expected 'one' or 'all', found {nodes!r}")
    lengths = [len(global_labels), len(local_labels), len(cameras), len(scores)]
    if len(set(lengths)) > 1:
        raise ValueError(f"refine: expected labels, local labels, cameras and scores of the same rows, found {lengths}")
    acting = _information_nodes(global_labels, scores, nodes=nodes) & (local_labels >= 0)
    group = group_numbers(global_labels, cameras)
    lowest = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    highest = np.full_like(lowest, -1)
    np.minimum.at(lowest, group[acting], local_labels[acting])
    np.maximum.at(highest, group[acting], local_labels[acting])
    # A row stays where every acting node of its cluster and camera shares its local cluster, or where none acts.
    stays = (highest[group] == -1) | ((lowest[group] == local_labels) & (highest[group] == local_labels))
    return number_clusters(np.where(stays & (global_labels >= 0), global_labels, -1))


def _information_nodes(
    labels: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n"], *, nodes: str
) -> Bool[np.ndarray, "n"]:
    """Which rows are information nodes: all of them, or the last of each cluster in row order."""
    qualifying = (labels >= 0) & (scores > (scores.mean() if len(scores) else 0.0))
    if nodes == "all":
        return qualifying
    last = np.full(int(labels.max(initial=-1)) + 1, -1)
    rows = np.flatnonzero(qualifying)
    np.maximum.at(last, labels[rows], rows)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[last[last >= 0]] = True
    return chosen
