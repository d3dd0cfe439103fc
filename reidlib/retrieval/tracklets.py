"""One embedding of a tracklet: the average of its pictures'."""

import numpy as np
from jaxtyping import Float32, Int64, Integer
from scipy.sparse import csr_array


def groups_of(tracklets: Integer[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    """Return a number from 0 for each row, by the first row of each tracklet; rows without one (-1) are alone.

    >>> groups_of(np.array([7, -1, 7, -1, 3])).tolist()
    [0, 1, 0, 2, 3]
    """
    keys = np.where(tracklets < 0, -1 - np.arange(len(tracklets)), tracklets)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    places = np.empty(len(first), np.int64)
    places[np.argsort(first)] = np.arange(len(first))
    return places[inverse]


def averages(embeddings: Float32[np.ndarray, "n d"], groups: Int64[np.ndarray, "n"]) -> Float32[np.ndarray, "m d"]:
    """Return the unit-norm mean of the rows of each group, in the groups' order; a row that is alone stays as it is.

    Args:
        embeddings: unit-norm rows; may be a memory map, which is read once.
        groups: numbers from 0, each there.

    Raises:
        ValueError: rows of a group that cancel out.
    """
    count = int(groups.max(initial=-1)) + 1
    n = len(groups)
    members = csr_array((np.ones(n, np.float32), (groups, np.arange(n))), shape=(count, n))
    sums = np.asarray(members @ embeddings, np.float32)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    if (norms < 1e-6).any():
        raise ValueError(
            "average of a tracklet: expected embeddings that have something in common, found opposite ones"
        )
    alone = np.bincount(groups, minlength=count) == 1
    return np.where(alone[:, None], sums, sums / norms)


def most_frequent(numbers: Integer[np.ndarray, "n"], groups: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "m"]:
    """Return the most frequent number of each group, -1 (unknown) aside where there is another; the lowest of several.

    >>> most_frequent(np.array([5, -1, 5, 3, -1, -1]), np.array([0, 0, 0, 0, 1, 0])).tolist()
    [5, -1]
    """
    count = int(groups.max(initial=-1)) + 1
    values, coded = np.unique(numbers, return_inverse=True)
    pairs, times = np.unique(groups * len(values) + coded, return_counts=True)
    group, number = pairs // len(values), values[pairs % len(values)]
    order = np.lexsort((number, -times, number < 0, group))
    best = np.full(count, -1, np.int64)
    first = np.unique(group[order], return_index=True)[1]
    best[group[order][first]] = number[order][first]
    return best
