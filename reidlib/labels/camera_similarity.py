"""IIDS: images of two cameras are alike where all cameras' own clusters see them alike."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32
from scipy.special import logsumexp
from torch import Tensor

from reidlib.labels import kernels
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import cluster_centres
from reidlib.neighbours.blocks import Array, each_block
from reidlib.neighbours.search import Neighbours, Search

CANDIDATES = 3  # for each neighbour that is asked for
TEMPERATURE = 0.05
CLUSTERS = 1024  # whose probabilities are held at once


def candidates_needed(k: int, *, images: int) -> int:
    """How many neighbours the inner search of ``with_camera_similarity`` is asked for, where it is asked for k."""
    return min(CANDIDATES * k, images)


def with_camera_similarity(
    search: Search, local_labels: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"], *, weight: float
) -> Search:
    """A search by distance 1 - cosine - weight · J on pairs of two cameras [Xuan & Zhang, TPAMI 2022], J as below.

    The nearest are chosen among ``candidates_needed`` rows, those of the largest cosine; rows beyond them, which J
    would have to lift by more than weight at most, are not looked at. Nothing of size n × n is made.

    Deviation: J decides who the neighbours are, in which order; the similarities returned are the plain cosines, so
    that the weights of the Jaccard distance are those of the embeddings on every device.

    The local labels are clusters inside cameras, unique over them, -1 = outlier; weight is the paper's μ,
    .01 · (1 - round / 40)^.6, and 0 gives the plain search. `search` finds the candidates (``remembered(found)`` where
    they were searched before); ties are in their order.

    Returns:
        search(embeddings, k=k), of the rows that labels and cameras are of.
    """

    def similar(embeddings: Float[Array, "n d"], /, *, k: int) -> Neighbours:
        if len(embeddings) != len(cameras):
            raise ValueError(f"camera similarity: {len(cameras)} cameras are known, asked for {len(embeddings)} rows")
        found = search(embeddings, k=candidates_needed(k, images=len(embeddings)))
        similarities, indices = (torch.as_tensor(part).numpy(force=True) for part in found)
        shared = camera_similarity(torch.as_tensor(embeddings).numpy(force=True), indices, local_labels, cameras)
        closeness = similarities + np.float32(weight) * shared
        closeness[:, 0] = np.inf  # itself
        order = np.argsort(-closeness, axis=1, kind="stable")[:, :k]
        chosen = [np.take_along_axis(part, order, axis=1) for part in (similarities, indices)]
        if isinstance(embeddings, Tensor):
            return Neighbours(*(torch.as_tensor(part, device=embeddings.device) for part in chosen))
        return Neighbours(*chosen)

    return similar


def camera_similarity(
    embeddings: Float[np.ndarray, "n d"],
    indices: Int32[np.ndarray, "n k"],
    local_labels: Int[np.ndarray, "n"],
    cameras: Int[np.ndarray, "n"],
) -> Float32[np.ndarray, "n k"]:
    """J = Σ min / Σ max of the rows' cluster probabilities, of each row and its neighbours on other cameras; else 0.

    A row has a probability for each local cluster: per camera a softmax over the camera's clusters, whichever camera
    the row is from. Σ min + Σ max is 2 per camera, so that Σ min alone is needed, summed cluster by cluster.

    Deviation: the paper's probabilities are those of the trained linear classifiers; here the classifier of a
    camera is the softmax of the cosines to its clusters' normalised mean embeddings, at temperature .05, so that labels
    depend on embeddings alone and no network's head has to be kept.

    Time: two products of the rows and all cluster centres, and n · k · clusters minima. Memory: n · (1,024 + 2 k)
    numbers beside the centres.

    Raises:
        ValueError: where a local cluster spans cameras.
    """
    clusters, owners = _clusters_by_camera(local_labels, cameras)
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    indices = np.ascontiguousarray(indices)
    centres = cluster_centres(rows, clusters) / np.float32(TEMPERATURE)
    sums = np.zeros(indices.shape, dtype=np.float32)
    classifiers = np.unique(owners)
    for camera in classifiers:
        own = centres[np.searchsorted(owners, camera) : np.searchsorted(owners, camera, side="right")]
        totals = _log_totals(rows, own)
        for start in range(0, len(own), CLUSTERS):
            probabilities = rows @ own[start : start + CLUSTERS].T
            probabilities -= totals[:, None]
            np.exp(probabilities, out=probabilities)

            def add(first: int, last: int, shares: Float32[np.ndarray, "n c"] = probabilities) -> None:
                kernels.add_overlaps(shares, indices, cameras, first, last, sums)

            each_block(add, len(indices))
    return sums / np.maximum(2 * len(classifiers) - sums, np.finfo(np.float32).tiny)


def _clusters_by_camera(
    local_labels: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"]
) -> tuple[Int32[np.ndarray, "n"], Int[np.ndarray, "clusters"]]:
    """The labels numbered camera by camera, and each cluster's camera, ascending."""
    order = np.argsort(cameras, kind="stable")
    clusters = np.empty(len(order), dtype=np.int32)
    clusters[order] = number_clusters(local_labels[order])
    clustered = clusters >= 0
    owners = np.zeros(int(clusters.max(initial=-1)) + 1, dtype=np.int64)
    owners[clusters[clustered]] = cameras[clustered]
    strays = np.flatnonzero(clustered)[owners[clusters[clustered]] != cameras[clustered]]
    if len(strays):
        raise ValueError(
            f"camera similarity: expected clusters inside cameras, found local label {local_labels[strays[0]]} on "
            "several; pass the labels of local_clusters"
        )
    return clusters, owners


def _log_totals(rows: Float32[np.ndarray, "n d"], centres: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "n"]:
    """The logarithm of each row's softmax denominator over these centres."""
    step = max(1, (CLUSTERS << 12) // len(centres))
    blocks = [logsumexp(rows[start : start + step] @ centres.T, axis=1) for start in range(0, len(rows), step)]
    return np.concatenate(blocks).astype(np.float32)
