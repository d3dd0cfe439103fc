"""What each cluster has in common: its mean embedding, or its camera."""

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer
from scipy import sparse

SMALLEST_NORM = 1e-12
LANES = 8


def cluster_centres(
    embeddings: Float[np.ndarray, "n d"], labels: Integer[np.ndarray, "n"], *, unit: bool = True
) -> Float32[np.ndarray, "clusters d"]:
    """Return the mean embedding of every cluster.

    Args:
        embeddings: unit-norm rows.
        labels: clusters 0..C-1 without gaps, -1 = outlier.
        unit: whether the means are brought to norm 1; they are shorter where members differ.

    Raises:
        ValueError: no cluster, a cluster number without members, or a mean of norm zero or not finite.
    """
    members = np.flatnonzero(labels >= 0)
    clusters = labels[members].astype(np.int64)
    sizes = np.bincount(clusters)
    if len(sizes) == 0:
        raise ValueError("cluster centres: expected at least one cluster, got none; are all images outliers?")
    if (sizes == 0).any():
        raise ValueError(
            f"cluster centres: expected clusters 0..{len(sizes) - 1} without gaps, but cluster "
            f"{int(np.flatnonzero(sizes == 0)[0])} has no member; number the clusters by first appearance"
        )
    order = np.argsort(clusters, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ones = np.ones(len(members), np.float32)
    members_of = sparse.csr_array((ones, members[order], starts), shape=(len(sizes), len(labels)))
    sums = members_of @ np.asarray(embeddings, np.float32)
    norms = _norms(sums)
    if not ((norms > SMALLEST_NORM) & np.isfinite(norms)).all():
        raise ValueError("cluster centres: expected means of finite norm above 0; check the embeddings for NaN or 0")
    return sums / norms if unit else sums / sizes[:, None].astype(np.float32)


def _norms(rows: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n 1"]:
    """Return Euclidean norms, summed in eight lanes: the order, and the bits, of torch on a processor with AVX2."""
    squares = np.pad(rows * rows, ((0, 0), (0, -rows.shape[1] % LANES)))
    lanes = squares.reshape(len(rows), -1, LANES).sum(axis=1)
    return np.sqrt(np.add.accumulate(lanes, axis=1)[:, -1:])


def class_cameras(labels: Integer[np.ndarray, "n"], cameras: Integer[np.ndarray, "n"]) -> Int64[np.ndarray, "clusters"]:
    """Return the camera of every cluster, each of which lies on one.

    Raises:
        ValueError: a cluster on two cameras.
    """
    members = np.flatnonzero(labels >= 0)
    clusters, where = labels[members].astype(np.int64), cameras[members]
    owners = np.zeros(int(clusters.max(initial=-1)) + 1, np.int64)
    owners[clusters] = where
    strays = np.flatnonzero(owners[clusters] != where)
    if len(strays):
        label = int(clusters[strays[0]])
        raise ValueError(
            f"expected clusters of one camera each, but cluster {label} is on cameras "
            f"{np.unique(where[clusters == label]).tolist()}; cluster camera by camera"
        )
    return owners
