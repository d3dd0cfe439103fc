"""What is known of pairs of images before any clustering: which belong together, and which never do.

Images of one tracklet show one individual; two tracklets of one camera at one moment show two; a person's links say
either. The first kind joins images to groups, each of which is one node of a clustering; the second keeps groups apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float, Int, Int32, Int64
from scipy import sparse
from scipy.sparse import csgraph

from reidlib.labels.numbering import number_clusters

Pairs = Int[np.ndarray, "p 2"]
NO_PAIRS: Int64[np.ndarray, "0 2"] = np.empty((0, 2), np.int64)
MOST_TOLD = 10  # contradictions that a message lists


@dataclass(frozen=True)
class Links:
    """Pairs of rows of which the same thing is said.

    Attributes:
        pairs: rows, two and two.
        why: says of a pair, by its place among the pairs, where it comes from.
    """

    pairs: Pairs
    why: Callable[[int], str] = lambda _: "given"


@dataclass(frozen=True)
class Constraints:
    """Groups of rows that belong together, and pairs of groups that never do.

    Labels keep them where the rows of each group have one label, -1 included, and no label from 0 on is that of two
    groups kept apart.

    Attributes:
        groups: of each row, numbered without gaps by first appearance; a row alone is a group of its own.
        apart: pairs of groups, the lower one first, each pair once, in increasing order.
        before: what is known without a person's answers, where there are any. The silhouette chooses the height of the
            cut by it alone; answers join and part clusters below it and above, and do not move it.
    """

    groups: Int32[np.ndarray, "n"]
    apart: Int32[np.ndarray, "p 2"]
    before: "Constraints | None" = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.groups)

    @property
    def sizes(self) -> Int64[np.ndarray, "g"]:
        """Rows of each group."""
        return np.bincount(self.groups)

    def settles(self, first: int, second: int) -> bool:
        """Return whether it follows of two rows that they are the same, or that they are different.

        >>> known = constraints(4, same=Links(np.array([[0, 1]])), different=Links(np.array([[1, 2]])))
        >>> known.settles(0, 1), known.settles(0, 2), known.settles(0, 3)
        (True, True, False)
        """
        low, high = sorted(self.groups[[first, second]].tolist())
        return low == high or bool((self.apart == (low, high)).all(axis=1).any())

    def broken(self, labels: Int[np.ndarray, "n"]) -> int:
        """Return how many groups are torn by the labels, and how many pairs kept apart share one.

        >>> constraints(4, same=Links(np.array([[0, 1]])), different=Links(np.array([[1, 2]]))).broken(
        ...     np.array([0, 0, 0, 1])
        ... )
        1
        """
        lowest, highest = np.full(len(self.sizes), np.iinfo(np.int64).max), np.full(len(self.sizes), -1)
        np.minimum.at(lowest, self.groups, labels)
        np.maximum.at(highest, self.groups, labels)
        first, second = (highest[self.apart[:, side]] for side in (0, 1))
        return int((lowest != highest).sum() + ((first >= 0) & (first == second)).sum())


def apart_lists(
    pairs: Int[np.ndarray, "p 2"], *, nodes: int
) -> tuple[Int64[np.ndarray, "starts"], Int32[np.ndarray, "twice_p"]]:
    """Return what each node is kept apart from, as starts and nodes of a CSR matrix.

    >>> [part.tolist() for part in apart_lists(np.array([[0, 2], [1, 2]]), nodes=3)]
    [[0, 1, 2, 4], [2, 2, 0, 1]]
    """
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends[:, 0], minlength=nodes))])
    return starts.astype(np.int64), np.ascontiguousarray(ends[order, 1], dtype=np.int32)


def constraints(
    n: int,
    *,
    same: Links = Links(NO_PAIRS),
    different: Links = Links(NO_PAIRS),
    names: Sequence[str] | None = None,
) -> Constraints:
    """Return the groups that chains of `same` make of n rows, and which of them `different` keeps apart.

    Args:
        n: rows.
        same: pairs of rows of one individual.
        different: pairs of rows of two.
        names: of the rows, for messages; their numbers by default.

    Raises:
        ValueError: where a chain of `same` joins two rows that are `different`, with the shortest chain of each.
    """
    first, second = same.pairs.T
    graph = sparse.coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n)).tocsr()
    groups = number_clusters(csgraph.connected_components(graph, directed=False)[1])
    ends = groups[different.pairs]
    contradictions = np.flatnonzero(ends[:, 0] == ends[:, 1])
    if len(contradictions):
        called = names if names is not None else [f"row {row}" for row in range(n)]
        told = [_contradiction(int(place), same, different, graph, called) for place in contradictions[:MOST_TOLD]]
        more = f"\n  and {len(contradictions) - MOST_TOLD:,} more" if len(contradictions) > MOST_TOLD else ""
        count = "a pair is" if len(contradictions) == 1 else f"{len(contradictions):,} pairs are"
        raise ValueError(
            f"links: {count} different, though a chain of links makes them the same; take "
            "one link of each out:\n" + "\n".join(told) + more
        )
    apart = np.unique(np.sort(ends, axis=1), axis=0).astype(np.int32)
    return Constraints(groups, apart.reshape(-1, 2))


def _contradiction(place: int, same: Links, different: Links, graph: sparse.csr_array, names: Sequence[str]) -> str:
    """Return a line: which two rows are different, by what, and the shortest chain that makes them the same."""
    one, other = (int(row) for row in different.pairs[place])
    head = f"  {names[one]} and {names[other]} are different ({different.why(place)})"
    if one == other:
        return f"{head}, but they are one image"
    _, before = csgraph.breadth_first_order(graph, one, directed=False)
    path = [other]
    while path[-1] != one:
        path.append(int(before[path[-1]]))
    steps = {tuple(sorted(pair)): number for number, pair in reversed(list(enumerate(same.pairs.tolist())))}
    reasons = [(step, same.why(steps[tuple(sorted(step))])) for step in zip(path[::-1], path[-2::-1], strict=False)]
    chain = []
    for why, part in groupby(reasons, key=lambda reason: reason[1]):  # the links of one tracklet are one step
        rows = [row for step, _ in part for row in step]
        chain.append(f"{names[rows[0]]} = {names[rows[-1]]} ({why})")
    return f"{head}, but the same by {', '.join(chain)}"


def join_tracklets(tracklets: Int[np.ndarray, "n"]) -> Links:
    """Return the links of each image of a tracklet to the tracklet's first one.

    Args:
        tracklets: numbers, unique over cameras; -1 = none.
    """
    rows = np.flatnonzero(tracklets >= 0)
    _, first, tracklet_of = np.unique(tracklets[rows], return_index=True, return_inverse=True)
    pairs = np.stack([rows[first][tracklet_of.reshape(-1)], rows], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return Links(pairs, lambda place: f"tracklet {tracklets[pairs[place, 1]]}")


def separate_moments(
    clocks: Int[np.ndarray, "n"], tracklets: Int[np.ndarray, "n"], times: Float[np.ndarray, "n"]
) -> Links:
    """Return links between images of every two tracklets that one camera saw at one moment.

    Two tracklets are seen at one moment where each begins before the other one ends, from the first to the last time
    that is known of its images; so one that ends as the other begins may be the same individual's, lost and found.

    Args:
        clocks: of the images, a number for each camera, or for each sequence of one; a tracklet is on one.
        tracklets: numbers, unique over clocks; -1 = none.
        times: seconds, to be compared on one clock; NaN = unknown.
    """
    rows = np.flatnonzero((tracklets >= 0) & np.isfinite(times))
    numbers, first, tracklet_of = np.unique(tracklets[rows], return_index=True, return_inverse=True)
    begin, end = np.full(len(numbers), np.inf), np.full(len(numbers), -np.inf)
    np.minimum.at(begin, tracklet_of.reshape(-1), times[rows])
    np.maximum.at(end, tracklet_of.reshape(-1), times[rows])
    clock = clocks[rows][first]
    order = np.lexsort((begin, clock))
    ends = rows[first][order][_overlaps(clock[order], begin[order], end[order])]
    return Links(ends, lambda place: "tracklets {} and {}, at one moment".format(*tracklets[ends[place]]))


def _overlaps(
    clock: Int[np.ndarray, "t"], begin: Float[np.ndarray, "t"], end: Float[np.ndarray, "t"]
) -> Int64[np.ndarray, "p 2"]:
    """Return the pairs of spans on one clock, ordered by clock and begin, of which each begins before the other ends.

    Cost: each span looks at those that begin before it ends, which are its pairs but for spans of no length.
    """
    pairs = []
    for place in range(len(clock)):
        after = place + 1
        while after < len(clock) and clock[after] == clock[place] and begin[after] < end[place]:
            if begin[place] < end[after]:
                pairs.append((place, after))
            after += 1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def keep_groups_whole(labels: Int[np.ndarray, "n"], known: Constraints) -> Int32[np.ndarray, "n"]:
    """Return labels in which a group has the label of those of its rows that have one: what left others out is undone.

    Args:
        labels: of which no group has two but for -1.
        known: the groups.
    """
    kept = np.full(len(known.sizes), -1, np.int64)
    np.maximum.at(kept, known.groups, labels)
    return number_clusters(kept[known.groups])
