"""IIDS: images of two cameras are alike where all cameras' own clusters see them alike."""

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from reidlib.labels import kernels
from reidlib.labels.centres import class_cameras, cluster_centres
from reidlib.labels.numbering import number_clusters
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.search import Neighbours

CANDIDATES = 3  # for each neighbour that is asked for
TEMPERATURE = 0.05
CLUSTERS = 1024  # whose probabilities are held at once


def candidates_needed(k: int, *, images: int) -> int:
    """Return how many nearest rows `nearer_across_cameras` chooses among, where it is asked for k."""
    return min(CANDIDATES * k, images)


def nearer_across_cameras(
    embeddings: Float[np.ndarray, "n d"],
    neighbours: Neighbours,
    local_labels: Int[np.ndarray, "n"],
    cameras: Int[np.ndarray, "n"],
    *,
    weight: float,
    k: int,
) -> Neighbours:
    """Return the k nearest by distance 1 - cosine - weight · J on pairs of two cameras [Xuan & Zhang, TPAMI 2022].

    They are chosen among the `candidates_needed` rows of the largest cosine; rows beyond them, which J (see
    `camera_similarity`) would have to lift by more than weight at most, are not looked at. Nothing of size n × n is
    made.

    Deviation: J decides who the neighbours are, in which order; the similarities returned are the plain cosines, so
    that the weights of the Jaccard distance are those of the embeddings.

    Args:
        embeddings: unit-norm rows.
        neighbours: `candidates_needed` nearest rows of each or more, itself first; ties keep their order.
        local_labels: clusters inside cameras, unique over them, -1 = outlier.
        cameras: of the rows.
        weight: the paper's μ, .01 · (1 - round / 40)^.6; 0 gives the nearest as they are.
        k: how many to choose.
    """
    count = candidates_needed(k, images=len(embeddings))
    similarities, indices = (np.ascontiguousarray(part[:, :count]) for part in neighbours)
    shared = camera_similarity(embeddings, indices, local_labels, cameras)
    closeness = similarities + np.float32(weight) * shared
    closeness[:, 0] = np.inf  # itself
    order = np.argsort(-closeness, axis=1, kind="stable")[:, :k]
    return Neighbours(*(np.take_along_axis(part, order, axis=1) for part in (similarities, indices)))


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
    clusters = number_clusters(local_labels)
    owners = class_cameras(clusters, cameras)
    if len(owners) == 0:
        return np.zeros(indices.shape, dtype=np.float32)
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    indices = np.ascontiguousarray(indices)
    centres = cluster_centres(rows, clusters) / np.float32(TEMPERATURE)
    sums = np.zeros(indices.shape, dtype=np.float32)
    classifiers = np.unique(owners)
    for camera in classifiers:
        classes = centres[owners == camera]
        totals = _log_totals(rows, classes)
        for start in range(0, len(classes), CLUSTERS):
            probabilities = rows @ classes[start : start + CLUSTERS].T
            probabilities -= totals[:, None]
            np.exp(probabilities, out=probabilities)

            def add(first: int, last: int, shares: Float32[np.ndarray, "n c"] = probabilities) -> None:
                kernels.add_overlaps(shares, indices, cameras, first, last, sums)

            each_block(add, len(indices))
    return sums / np.maximum(2 * len(classifiers) - sums, np.finfo(np.float32).tiny)


def _log_totals(rows: Float32[np.ndarray, "n d"], centres: Float32[np.ndarray, "c d"]) -> Float32[np.ndarray, "n"]:
    """The logarithm of each row's softmax denominator over these centres."""
    from scipy.special import logsumexp  # a tenth of a second, for this one method

    step = max(1, (CLUSTERS << 12) // len(centres))
    blocks = [logsumexp(rows[start : start + step] @ centres.T, axis=1) for start in range(0, len(rows), step)]
    return np.concatenate(blocks).astype(np.float32)
