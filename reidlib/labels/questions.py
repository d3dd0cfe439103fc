"""Which pairs of images are worth asking a person about: those on the boundary between merges and splits.

An answer changes clusters where they were as likely wrong as right: at the merges of average linkage next to the cut.
Of a merge that was just made the answer `different` takes the two parts apart, for one that was just not made `same`
joins groups of them. So questions are asked of the merges in the order of their distance from the cut, in turns of one
above and one below; first of those whose two parts have a pair of images on two cameras. What follows from earlier
answers is not asked: images of one group are the same, and clusters with groups kept apart have no merge.
What a person looks at beside the two images is of the parts of the merge, too: what the answer joins or takes apart.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np
from jaxtyping import Float64, Int, Int64

from reidlib.labels import kernels, question_kernels
from reidlib.labels.clustering import Clustering, apart, distance_graph, fit_to_images
from reidlib.labels.constraints import Constraints, constraints
from reidlib.labels.global_labelling import GlobalLabelling, camera_aware_graphs, joined_cues
from reidlib.labels.graphs import Distances, graph_arrays
from reidlib.labels.linkage import average_linkage, silhouette_cut
from reidlib.labels.numbering import number_clusters

ROUND = 10
"""Questions that are asked before the clusters are made anew by the answers."""
Pair = tuple[int, int]
Cameras = Int[np.ndarray, "n"]
Rows = Int64[np.ndarray, "_"]


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
    return [distance_graph(cues, None, fit_to_images(labelling, images=len(cues), where="the training set"))]


@dataclass(frozen=True)
class Merges:
    """The clusters that are asked about, as `best_merges` makes them.

    Attributes:
        graph: distances of the images.
        rows: merges as of `average_linkage`, in increasing order of distance, those inside known groups first.
        made: how many of them are made.
        known: how many of them are inside known groups.
    """

    graph: Distances
    rows: Float64[np.ndarray, "m 4"]
    made: int
    known: int

    @cached_property
    def labels(self) -> Int[np.ndarray, "n"]:
        """The clusters, -1 = outlier."""
        return number_clusters(kernels.cut(self.graph.shape[0], self.rows[: self.made]), smallest=2)

    def parts(self, first: int, second: int) -> tuple[Rows, Rows]:
        """Return the images of the two parts whose merge brings two images together, ascending.

        Of two that no merge brings together: the two clusters at the end of all merges.
        """

        def cut(made: int) -> Int[np.ndarray, "n"]:
            return kernels.cut(self.graph.shape[0], self.rows[:made])

        def together(made: int) -> bool:
            labels = cut(made)
            return bool(labels[first] == labels[second])

        labels = cut(bisect_left(range(len(self.rows) + 1), True, key=together) - 1)
        return np.flatnonzero(labels == labels[first]), np.flatnonzero(labels == labels[second])


def best_merges(graphs: Sequence[Distances], known: Constraints | None) -> Merges:
    """Return the merges of average linkage, cut at the best silhouette, on the graph where clusters stand best apart.

    These are the labels of `aligned_cues`; for other clusterings a stand-in on the same distances.

    Args:
        graphs: `question_graphs`.
        known: what is known by tracklets, times and earlier answers.
    """
    n = graphs[0].shape[0]
    known = known or constraints(n)
    groups, found = (known.before or known).groups, []
    for graph in graphs:
        rows = average_linkage(graph, known)
        merges = Merges(graph, rows, silhouette_cut(graph, rows, known), n - len(known.sizes))
        found.append((apart(Clustering(merges.labels, graph, groups)), merges))
    return max(found, key=lambda one: one[0])[1]


def propose(merges: Merges, cameras: Cameras, *, asked: Collection[Pair] = (), count: int = ROUND) -> list[Pair]:
    """Return the pairs of images whose answers change most, the first one first; fewer where there are no more.

    Args:
        merges: `best_merges` of all that is known.
        cameras: of the images.
        asked: pairs that were asked, whatever the answer; they are not proposed again.
        count: pairs.

    Returns:
        Pairs of rows, the lower one first; each is the nearest pair of the two parts of a merge, of two cameras where
        there is one.
    """
    n = len(cameras)
    keys = np.sort(np.array([min(pair) * n + max(pair) for pair in asked], dtype=np.int64))
    first, second, across = question_kernels.closest_pairs(
        *graph_arrays(merges.graph),
        merges.rows[:, 0].astype(np.int64),
        merges.rows[:, 1].astype(np.int64),
        cameras.astype(np.int64),
        keys,
    )
    possible = np.flatnonzero(first >= 0)
    possible = possible[possible >= merges.known]
    order: list[int] = []
    for crossing in (True, False):
        here = possible[across[possible] == crossing]
        above, below = here[here >= merges.made].tolist(), here[here < merges.made][::-1].tolist()
        order += [merge for merge in chain(*zip_longest(above, below)) if merge is not None]
    return [(int(first[merge]), int(second[merge])) for merge in order[:count]]
