"""How much a cluster tells about people, not cameras: the entropy of its members' cameras."""

import numpy as np
from jaxtyping import Float32, Int


def cluster_weights(labels: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"]) -> Float32[np.ndarray, "clusters"]:
    """log(1 + entropy) of each cluster's camera histogram, natural logarithms [CALR, arXiv:2403.16450].

    By cluster number, >= 0; 0 for a cluster of one camera (or without a member). Outliers (-1) do not count.

    >>> weights = cluster_weights(np.array([0, 0, 1, 1, -1]), np.array([3, 4, 3, 3, 4]))
    >>> [round(float(weight), 3) for weight in weights]  # log(1 + log 2), 0
    [0.527, 0.0]
    """
    if len(labels) != len(cameras):
        raise ValueError(f"cluster_weights: expected a camera per label, found {len(cameras)} for {len(labels)}")
    names, camera = np.unique(cameras, return_inverse=True)
    clusters, clustered = int(labels.max(initial=-1)) + 1, labels >= 0
    cells = labels[clustered].astype(np.int64) * len(names) + camera[clustered]
    counts = np.bincount(cells, minlength=clusters * len(names)).reshape(clusters, len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    entropies = 0 - (shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    return np.log1p(entropies).astype(np.float32)
