"""Search by tracklets: a query is compared with the average of each tracklet's pictures."""

import numpy as np
from jaxtyping import Bool, Float32, Int64

from reidlib.gallery.search import Nearest, nearest_rows
from reidlib.retrieval.tracklets import averages, groups_of


def nearest_tracklets(
    vectors: Float32[np.ndarray, "n d"],
    queries: Float32[np.ndarray, "q d"],
    *,
    k: int,
    groups: Int64[np.ndarray, "n"],
    chosen: Bool[np.ndarray, "n"] | None = None,
    own: Int64[np.ndarray, "q"] | None = None,
) -> list[Nearest]:
    """Return the at most k tracklets whose averages are nearest to each query, each by its most typical row.

    Typical is the row that is nearest to the average, the lowest of several; similarities are those with the average.

    Args:
        vectors: unit-norm rows; may be a memory map, which is read once.
        queries: unit-norm rows.
        k: answers to each.
        groups: a number for each row, of 0 or more: the same for rows of a tracklet.
        chosen: the rows that are averaged, and may be answers; all without.
        own: the row that each query is itself: the average of all of its tracklet is searched for, which is no answer.
    """
    rows = np.arange(len(vectors)) if chosen is None else np.flatnonzero(chosen)
    if not len(rows):
        return [Nearest(np.empty(0, np.float32), rows) for _ in queries]
    among = vectors if chosen is None else vectors[rows]
    dense = groups_of(groups[rows])
    means = averages(among, dense)
    if own is not None:
        queries = np.concatenate([_average(vectors, groups == groups[row]) for row in own])
    order = np.argsort(dense, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(dense[order])) + 1)
    found = nearest_rows(means, queries, k=k + (own is not None))
    answers = []
    for number, answer in enumerate(found):
        typical = [_typical(among, members[group], means[group]) for group in answer.rows.tolist()]
        mine = rows[np.array(typical, np.int64)]
        other = np.ones(len(mine), bool) if own is None else groups[mine] != groups[own[number]]
        answers.append(Nearest(answer.similarities[other][:k], mine[other][:k]))
    return answers


def _typical(vectors: Float32[np.ndarray, "n d"], mine: Int64[np.ndarray, "_"], mean: Float32[np.ndarray, "d"]) -> int:
    near = vectors[mine] @ mean
    return int(mine[np.argmax(near >= near.max() - 1e-5)])  # two are always as near as each other, but for rounding


def _average(vectors: Float32[np.ndarray, "n d"], mine: Bool[np.ndarray, "n"]) -> Float32[np.ndarray, "1 d"]:
    return averages(vectors[mine], np.zeros(int(mine.sum()), np.int64))
