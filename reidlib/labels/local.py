"""Labels inside cameras: each camera's images are clustered on their own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int, Int32
from pydantic import Field

from reidlib.labels.clustering import cluster, distance_graph, fit_to_images
from reidlib.labels.graphs import Distances, block_diagonal
from reidlib.labels.guards import check_labels
from reidlib.labels.methods import parameter_to_move
from reidlib.labels.numbering import number_clusters
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.labels.quality import label_counts, silhouette
from reidlib.progress import progress
from reidlib.settings import Count, Share

Embeddings = Float[np.ndarray, "n d"]
Cameras = Int[np.ndarray, "n"]
GIVEN_LABELS = ("identities", "tracklets")
"""In the place of a method: labels that are given, the same in every epoch."""
FEWEST = 3  # images of a camera, with fewer of which there are no neighbours to share


@dataclass(frozen=True, kw_only=True)
class LocalLabelling:
    """How the images of a camera are clustered.

    Attributes:
        k1: neighbours of the k-reciprocal Jaccard distance, the image itself included.
        k2: of its local query expansion.
        original_weight: share of the cosine distance in the distance.
        method: the clustering, `name` and its settings; or what is in its place: one of `GIVEN_LABELS`, or none.
        relative: whether cosine distances count as shares of the row's largest, in the weights of the Jaccard distance
            too, as the published code of IIDS has it.
    """

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    original_weight: Share
    method: Mapping[str, Any]
    relative: bool = False


def local_labels(
    embeddings: Embeddings,
    cameras: Cameras,
    *,
    labelling: LocalLabelling,
    seed: int,
    previous: Int[np.ndarray, "n"] | None = None,
) -> PseudoLabels:
    """Cluster camera by camera, in the order of their numbers; no cluster spans two cameras.

    k1 and k2 are lowered, with a warning, where a camera has no more images than that. The images of a camera that has
    fewer than three are outliers.

    Args:
        embeddings: unit-norm rows.
        cameras: of the images.
        labelling: how.
        seed: of the clusterings that draw.
        previous: the labels of the epoch before, for a clustering that goes on from them.

    Returns:
        Labels unique over the cameras, numbered by first appearance; their number of clusters and share of outliers,
        and, where the method makes a graph, their silhouette on it.

    Raises:
        ValueError: as `cluster`; the guards look at all cameras together.
    """
    labels = np.full(len(embeddings), -1, dtype=np.int64)
    blocks: list[tuple[Int[np.ndarray, "m"], Distances]] = []
    for camera, rows in _rows_by_camera(embeddings, cameras):
        part = cluster(
            embeddings[rows],
            labelling=fit_to_images(labelling, images=len(rows), where=f"camera {camera}"),
            seed=seed,
            complete=True,
            previous=None if previous is None else previous[rows],
        )
        labels[rows] = np.where(part.labels >= 0, part.labels + (labels.max() + 1), -1)
        if part.distances is not None:
            blocks.append((rows, part.distances))
    distances = block_diagonal(len(embeddings), blocks) if blocks else None
    numbered = number_clusters(labels)
    check_labels(numbered, parameter=parameter_to_move(labelling.method), distances=distances)
    measures = label_counts(numbered)
    if distances is not None:
        measures["silhouette"] = silhouette(distances, numbered)
    return PseudoLabels(numbered, measures)


def given_labels(labels: Int32[np.ndarray, "n"]) -> PseudoLabels:
    """Return labels that were given, not made of clusters, with their number and share of outliers."""
    return PseudoLabels(labels, label_counts(labels))


def tracklet_labels(tracklets: Int[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
    """Return each tracklet as a cluster: the classes of training inside cameras [Li et al., UTAL, TPAMI 2020].

    A person whom a camera saw in two tracklets is two classes there, as in the paper, which draws tracklets far apart
    in time so that this is rare; what it learns across cameras beside, by a soft match of tracklets, is left to the
    clusters of `refine` here. Images without a tracklet are outliers.

    Args:
        tracklets: of the images, numbers unique over cameras; -1 = none.

    Raises:
        ValueError: where fewer than two tracklets are known.
    """
    labels = number_clusters(tracklets)
    found = int(labels.max(initial=-1)) + 1
    if found < 2:
        raise ValueError(
            f"cluster.method: tracklets: expected images of at least two tracklets, found {found} "
            f"among {len(labels):,} images; a tracklet is a folder inside its camera's (dataset=folder); or choose "
            "another clustering@cluster.method"
        )
    return labels


def silhouette_of(
    embeddings: Embeddings, cameras: Cameras, labels: Int[np.ndarray, "n"], *, labelling: LocalLabelling
) -> float:
    """Return the silhouette of labels that come from elsewhere, on the distances inside cameras (`labelling`)."""
    blocks = []
    for camera, rows in _rows_by_camera(embeddings, cameras):
        fitting = fit_to_images(replace(labelling, method={}), images=len(rows), where=f"camera {camera}")
        blocks.append((rows, distance_graph(embeddings[rows], None, fitting)))
    return silhouette(block_diagonal(len(embeddings), blocks), labels)


def _rows_by_camera(
    embeddings: Embeddings, cameras: Int[np.ndarray, "m"]
) -> Iterator[tuple[int, Int[np.ndarray, "_"]]]:
    """Yield each camera that has enough images, and its rows."""
    if len(cameras) != len(embeddings):
        raise ValueError(f"local clusters: expected a camera per row, found {len(cameras)} for {len(embeddings)} rows")
    for camera in progress(np.unique(cameras), "local clusters"):
        rows = np.flatnonzero(cameras == camera)
        if len(rows) >= FEWEST:
            yield int(camera), rows
