"""Which pairs of images are worth asking a person about: those on the boundary between merges and splits.

An answer changes clusters where they were as likely wrong as right: at the merges of average linkage next to the cut.
Of a merge that was just made the answer `different` takes the two parts apart, for one that was just not made `same`
joins groups of them. So questions are asked of the merges in the order of their distance from the cut, in turns of one
above and one below; first of those whose two parts have a pair of images on two cameras. What follows from earlier
answers is not asked: images of one group are the same, and clusters with groups kept apart have no merge.
"""

from collections.abc import Collection, Sequence
from itertools import chain, zip_longest

import numpy as np
from jaxtyping import Float64, Int

from reidlib.labels import kernels, question_kernels
from reidlib.labels.clustering import Clustering, apart, distance_graph
from reidlib.labels.constraints import Constraints, constraints
from reidlib.labels.global_labelling import GlobalLabelling, camera_aware_graphs, joined_cues
from reidlib.labels.graphs import Distances, graph_arrays
from reidlib.labels.linkage import average_linkage, silhouette_cut
from reidlib.labels.numbering import number_clusters

ROUND = 10
"""Questions that are asked before the clusters are made anew by the answers."""
Pair = tuple[int, int]
Cameras = Int[np.ndarray, "n"]


def question_graphs(
    embeddings: Float64[np.ndarray, "n d"] | np.ndarray,
    colours: np.ndarray | None,
    cameras: Cameras,
    *,
    labelling: GlobalLabelling,
) -> list[Distances]:
    """Return the distance graphs that `refine` clusters, once: answers do not change them."""
    cues = joined_cues(embeddings, colours, cameras, labelling=labelling)
    if labelling.camera_aware is not None:
        return camera_aware_graphs(cues, cameras, labelling=labelling)
    return [distance_graph(cues, None, labelling)]


def propose(
    graphs: Sequence[Distances],
    cameras: Cameras,
    known: Constraints | None,
    *,
    asked: Collection[Pair] = (),
    count: int = ROUND,
) -> list[Pair]:
    """Return the pairs of images whose answers change most, the first one first; fewer where there are no more.

    The clusters are those of average linkage with the best silhouette, on that of the graphs where they stand best
    apart: the labels of `aligned_cues`; for other clusterings a stand-in on the same distances.

    Args:
        graphs: `question_graphs`.
        cameras: of the images.
        known: what is known by tracklets, times and earlier answers.
        asked: pairs that were asked, whatever the answer; they are not proposed again.
        count: pairs.

    Returns:
        Pairs of rows, the lower one first; each is the nearest pair of the two parts of a merge, of two cameras where
        there is one.
    """
    known = known or constraints(len(cameras))
    graph, merges, made = _best_tree(graphs, known)
    n = len(cameras)
    keys = np.sort(np.array([min(pair) * n + max(pair) for pair in asked], dtype=np.int64))
    first, second, across = question_kernels.closest_pairs(
        *graph_arrays(graph),
        merges[:, 0].astype(np.int64),
        merges[:, 1].astype(np.int64),
        cameras.astype(np.int64),
        keys,
    )
    possible = np.flatnonzero(first >= 0)
    possible = possible[possible >= n - len(known.sizes)]  # the merges inside groups are known
    order: list[int] = []
    for crossing in (True, False):
        here = possible[across[possible] == crossing]
        above, below = here[here >= made].tolist(), here[here < made][::-1].tolist()
        order += [merge for merge in chain(*zip_longest(above, below)) if merge is not None]
    return [(int(first[merge]), int(second[merge])) for merge in order[:count]]


def question_labels(graphs: Sequence[Distances], known: Constraints) -> Int[np.ndarray, "n"]:
    """Return the clusters that `propose` looks at, -1 = outlier."""
    graph, merges, made = _best_tree(graphs, known)
    return number_clusters(kernels.cut(graph.shape[0], merges[:made]), smallest=2)


def _best_tree(graphs: Sequence[Distances], known: Constraints) -> tuple[Distances, Float64[np.ndarray, "m 4"], int]:
    """Return the graph on which clusters stand best apart, its merges, and how many of them are made."""
    found = []
    for graph in graphs:
        n, merges = graph.shape[0], average_linkage(graph, known)
        made = silhouette_cut(graph, merges, known)
        labels = number_clusters(kernels.cut(n, merges[:made]), smallest=2)
        found.append((apart(Clustering(labels, graph, (known.before or known).groups)), graph, merges, made))
    return max(found, key=lambda one: one[0])[1:]
