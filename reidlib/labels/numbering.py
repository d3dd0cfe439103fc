"""The one way clusters are numbered: 0, 1, 2, … by first appearance, outliers -1."""

import numpy as np
from jaxtyping import Int, Int32


def number_clusters(labels: Int[np.ndarray, "n"], *, smallest: int = 1) -> Int32[np.ndarray, "n"]:
    """The same partition with clusters numbered without gaps in the order of their first rows.

    Negative labels are outliers, -1 then, and so are the members of clusters of fewer than `smallest`.

    >>> number_clusters(np.array([7, -1, 3, 7, 9]), smallest=2).tolist()
    [0, -1, -1, 0, -1]
    """
    _, first, inverse, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    kept = (counts >= smallest) & (labels[first] >= 0)
    order = np.argsort(first, kind="stable")
    numbers = np.full(len(first), -1, dtype=np.int32)
    numbers[order[kept[order]]] = np.arange(int(kept.sum()), dtype=np.int32)
    return numbers[inverse.reshape(-1)]


def separate_outliers(labels: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The labels with every outlier as a cluster of its own, numbered after the clusters.

    >>> separate_outliers(np.array([0, -1, 1, -1])).tolist()
    [0, 2, 1, 3]
    """
    separate = labels.astype(np.int64)
    outliers = np.flatnonzero(separate < 0)
    separate[outliers] = np.arange(len(outliers)) + (int(separate.max(initial=-1)) + 1)
    return separate


def group_numbers(first: Int[np.ndarray, "n"], second: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """A number 0, 1, … per distinct pair of values, in the order of the sorted pairs.

    >>> group_numbers(np.array([5, -1, 5, 5]), np.array([0, 3, 1, 0])).tolist()
    [1, 0, 2, 1]
    """
    a, b = (np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64) for values in (first, second))
    return np.unique(a * (int(b.max(initial=0)) + 1) + b, return_inverse=True)[1].reshape(-1)
