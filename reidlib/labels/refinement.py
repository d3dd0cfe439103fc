"""Clusters across cameras, cleaned by the clusters inside each camera, where the best connected images say so.

Pseudo-label refinement with intra-camera similarity [Li et al., ICIP 2023, arXiv:2304.12634].
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32

from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.numbering import group_numbers, number_clusters
from reidlib.neighbours.search import Neighbours

Labels = Int[np.ndarray, "n"]
Cameras = Int[np.ndarray, "n"]


def refined_clusters(
    clusters: Labels,
    local: Labels,
    cameras: Cameras,
    neighbours: Neighbours,
    *,
    labelling: GlobalLabelling,
    seed: int,
) -> Int32[np.ndarray, "n"]:
    """Return the clusters without the members that their information nodes' local clusters speak against.

    Args:
        clusters: across cameras, -1 = outlier.
        local: clusters inside cameras, unique over the cameras, -1 = outlier.
        cameras: of the rows.
        neighbours: `labelling.link_k` nearest of each row or more, itself first.
        labelling: which nodes act and how their links are made. One acts for each of the clusters that Infomap finds on
            these links, whatever method made the clusters that are refined (where Infomap did, for each of those).
        seed: of Infomap.
    """
    links, least = min(labelling.link_k, neighbours.indices.shape[1]), labelling.link_min_similarity
    scores = information_scores(neighbours, links=links, min_similarity=least)
    if labelling.nodes == "all":
        return refine_by_all(clusters, local, cameras, scores)
    infomaps = clusters
    if labelling.method["name"] != "infomap":
        infomaps = infomap(neighbours, seed=seed, k1=links, min_similarity=least)
    return refine_by_one(clusters, local, cameras, scores, communities=infomaps)


def information_scores(neighbours: Neighbours, *, links: int, min_similarity: float) -> Float64[np.ndarray, "n"]:
    """Return how well each row is connected: the sum of 1 / (distance + mean distance) over its kept links.

    Each row looks at its `links` nearest rows, itself among them, as Infomap does (15: at 14 others). A link goes to
    those whose similarity is at least min_similarity; its distance is 1 - similarity (not below 0). The mean is that of
    all rows' distances to all `links` rows, those without a link and the rows' to themselves included, as in the
    published code.

    Scores are >= 0, and 0 for a row without links. Where every distance is 0 (copies alone) each link counts 1: the
    paper's term has no value there.
    """
    similarities, indices = (part[:, :links] for part in neighbours)
    kept = (similarities >= min_similarity) & (indices != np.arange(len(indices))[:, None])
    distances = np.maximum(1 - similarities.astype(np.float64), 0)
    mean = distances.mean() if distances.size else 0.0
    if mean == 0:
        return kept.sum(axis=1).astype(np.float64)
    return np.where(kept, 1 / (distances + mean), 0).sum(axis=1)


def refine_by_all(
    clusters: Labels, local: Labels, cameras: Cameras, scores: Float[np.ndarray, "n"]
) -> Int32[np.ndarray, "n"]:
    """Return the clusters, refined by every information node: a member whose score exceeds the mean of all rows.

    For an information node on camera c in local cluster L, its cluster's members on camera c that are not in L become
    outliers; members on other cameras stay. Two information nodes of one cluster and camera in different local clusters
    thus empty the cluster on that camera. A node without a local cluster (-1) says nothing.

    The paper speaks of nodes; the code that made its figures lets one act (`refine_by_one`).

    Args:
        clusters: across cameras, -1 = outlier.
        local: clusters inside cameras, unique over the cameras, -1 = outlier.
        cameras: of the rows.
        scores: `information_scores`.

    Returns:
        int32 labels numbered by first appearance, -1 = outlier; a subset of the global clusters.
    """
    _check_lengths(clusters, local, cameras, scores)
    acting = (clusters >= 0) & _above_mean(scores) & (local >= 0)
    group = group_numbers(clusters, cameras)
    lowest = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    highest = np.full_like(lowest, -1)
    np.minimum.at(lowest, group[acting], local[acting])
    np.maximum.at(highest, group[acting], local[acting])
    # A row stays where every acting node of its cluster and camera shares its local cluster, or where none acts.
    stays = (highest[group] == -1) | ((lowest[group] == local) & (highest[group] == local))
    return number_clusters(np.where(stays & (clusters >= 0), clusters, -1))


def refine_by_one(
    clusters: Labels, local: Labels, cameras: Cameras, scores: Float[np.ndarray, "n"], *, communities: Labels
) -> Int32[np.ndarray, "n"]:
    """Return the clusters, refined by one information node of each community, as the published code does.

    A community's node is, of its members whose score exceeds the mean of all rows, the last in row order: a variable
    that the code overwrites. The nodes act one after another, by their communities' first rows, as in `refine_by_all`;
    one that an earlier node has made an outlier says nothing.

    Args:
        clusters: as in `refine_by_all`, which has the other arguments too.
        local: likewise.
        cameras: likewise.
        scores: likewise.
        communities: of Infomap, -1 = none.
    """
    _check_lengths(clusters, local, cameras, scores, communities)
    refined = clusters.copy()
    group = group_numbers(clusters, cameras)
    members = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    for node in information_nodes(communities, scores).tolist():
        if refined[node] >= 0 and local[node] >= 0:
            end = ends[group[node]]
            rows = members[ends[group[node] - 1] if group[node] else 0 : end]
            refined[rows[local[rows] != local[node]]] = -1
    return number_clusters(refined)


def information_nodes(communities: Labels, scores: Float[np.ndarray, "n"]) -> Int[np.ndarray, "nodes"]:
    """Return the last row of each community whose score exceeds the mean, by the communities' first rows."""
    numbered = number_clusters(communities)
    last = np.full(int(numbered.max(initial=-1)) + 1, -1)
    rows = np.flatnonzero((numbered >= 0) & _above_mean(scores))
    np.maximum.at(last, numbered[rows], rows)
    return last[last >= 0]


def _above_mean(scores: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    return scores > (scores.mean() if len(scores) else 0.0)


def _check_lengths(*parts: np.ndarray) -> None:
    lengths = [len(part) for part in parts]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"refine: expected labels, local labels, cameras, scores and communities of the same rows, found {lengths}"
        )
