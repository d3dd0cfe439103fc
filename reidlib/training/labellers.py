"""What the loop calls each epoch to turn embeddings into pseudo-labels: inside cameras, and across them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Integer

from reidlib.labels.camera_similarity import candidates_needed, with_camera_similarity
from reidlib.labels.centring import centre_cameras
from reidlib.labels.clustering import cluster, local_clusters, local_distances, lowered, neighbours_needed
from reidlib.labels.guards import check_labels
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import label_counts, label_measures, silhouette
from reidlib.labels.refinement import information_scores, refine
from reidlib.neighbours.search import nearest, remembered
from reidlib.training.distributed import ALONE, World
from reidlib.training.settings import EpochLabels, Labeller, Labels

Embeddings = Float32[np.ndarray, "n d"]
Cameras = Integer[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class GlobalLabelling:
    """How images of all cameras are clustered and the clusters refined; methods.md's defaults are in conf/.

    Attributes:
        k1: neighbours of the k-reciprocal Jaccard distance.
        k2: of its local query expansion.
        original_weight: share of the cosine distance in the distance.
        method: the clustering, `name` and its parameters.
        camera_similarity: weight of agreeing local classifiers across cameras, at the first epoch.
        camera_centering: subtract each camera's mean embedding first.
        nodes: which members of a cluster refine it: all information nodes, one, or none (no refinement).
        link_k: neighbours linked for the information scores.
        link_min_similarity: smallest cosine of a link.
    """

    k1: int
    k2: int
    original_weight: float
    method: Mapping[str, Any]
    camera_similarity: float
    camera_centering: bool
    nodes: Literal["one", "all", "none"]
    link_k: int
    link_min_similarity: float


def global_labels(
    embeddings: Embeddings,
    local: Labels,
    cameras: Cameras,
    *,
    labelling: GlobalLabelling,
    seed: int,
    world: World = ALONE,
    previous: Labels | None = None,
) -> EpochLabels:
    """Cluster all images and refine the clusters by intra-camera similarity [Li et al., ICIP 2023, arXiv:2304.12634].

    The nearest neighbours, which cost most, are searched once, by all processes together; the first does the rest.

    Args:
        embeddings: unit-norm rows.
        local: labels inside cameras, unique over cameras.
        cameras: of the images.
        labelling: how.
        seed: of the clusterings that draw.
        world: the processes that call this together.
        previous: the labels of the epoch before, which a clustering that goes on step by step starts from.

    Returns:
        The refined labels; their number of clusters, share of outliers and share of clusters that span cameras, and
        the share of images that refinement turned into outliers.
    """
    if labelling.camera_centering:
        embeddings = centre_cameras(embeddings, cameras)
    fitting = lowered(labelling.k1, labelling.k2, labelling.method, images=len(embeddings), where="the training set")
    links = min(labelling.link_k + 1, len(embeddings)) if labelling.nodes != "none" else 0
    needed = neighbours_needed(fitting["method"], k1=fitting["k1"])
    if labelling.camera_similarity:
        needed = candidates_needed(needed, images=len(embeddings))
    wanted = max(needed, links)
    found = world.search(embeddings, k=wanted) if wanted else None

    def labels() -> EpochLabels:
        search = nearest if found is None else remembered(found)
        if labelling.camera_similarity:
            search = with_camera_similarity(search, local, cameras, weight=labelling.camera_similarity)
        clustering = cluster(
            embeddings,
            **fitting,
            seed=seed,
            search=search,
            original_weight=labelling.original_weight,
            previous=previous,
        )
        if found is None or labelling.nodes == "none":
            return EpochLabels(clustering.labels, label_measures(clustering.labels, cameras) | {"refined_share": 0.0})
        scores = information_scores(
            found.similarities[:, :links], found.indices[:, :links], min_similarity=labelling.link_min_similarity
        )
        refined = refine(clustering.labels, local, cameras, scores, nodes=labelling.nodes)
        check_labels(refined, parameter="refine.nodes", distances=clustering.distances)
        share = float(((refined < 0) & (clustering.labels >= 0)).mean())
        return EpochLabels(refined, label_measures(refined, cameras) | {"refined_share": share})

    return world.on_first(labels)


def identity_labels(identities: Labels, cameras: Cameras) -> EpochLabels:
    """Return the ground truth as labels (unknown, <= 0, as outliers): supervised training, the upper bound."""
    labels = number_clusters(np.where(identities > 0, identities, -1))
    return EpochLabels(labels, label_measures(labels, cameras))


def global_labeller(
    first: Labels,
    local: Labels,
    cameras: Cameras,
    *,
    labelling: GlobalLabelling,
    seed: int,
    epochs: int = 1,
    newest_local: Callable[[int], int] | None = None,
) -> Labeller:
    """Return a labeller for training across cameras that starts from the labels of `refine`, and keeps identities.

    Args:
        first: the labels of epoch 0.
        local: labels inside cameras.
        cameras: of the images.
        labelling: how.
        seed: of the clusterings that draw.
        epochs: in all; the weight of the camera similarity falls as (1 - epoch / epochs) ** .6 [Xuan & Zhang, TPAMI
            2022].
        newest_local: where phases take turns, gives for an epoch the one before it that made the local labels to use.
    """

    def label(epoch: int, embeddings: Embeddings, world: World, earlier: Sequence[Labels]) -> EpochLabels:
        if labelling.method["name"] == "identities" or (epoch == 0 and newest_local is None):
            return EpochLabels(first, label_measures(first, cameras))
        how = replace(labelling, camera_similarity=labelling.camera_similarity * (1 - epoch / epochs) ** 0.6)
        own, previous = (earlier[newest_local(epoch)], None) if newest_local else (local, earlier[-1])
        return global_labels(embeddings, own, cameras, labelling=how, seed=seed + epoch, world=world, previous=previous)

    return label


def local_labeller(first: Labels, cameras: Cameras, *, clustering: Mapping[str, Any], seed: int) -> Labeller:
    """Return a labeller for training inside cameras that starts from the labels of `cluster`, and keeps identities.

    `clustering` is k1, k2, original_weight and method, as `local_clusters` takes them. The measures hold the silhouette
    of the labels on the Jaccard distance of the embeddings they came from (for the first epoch: of the network's own
    embeddings at that time), by which the epoch to keep can be chosen without identities. All of it is done by the
    first process: searches inside cameras are small.
    """
    graph = {name: value for name, value in clustering.items() if name != "method"}

    def label(epoch: int, embeddings: Embeddings, earlier: Sequence[Labels]) -> EpochLabels:
        if epoch == 0 or clustering["method"]["name"] == "identities":
            labels, distances = first, None
        else:
            found = local_clusters(embeddings, cameras, **clustering, seed=seed + epoch, previous=earlier[-1])
            labels, distances = found.labels, found.distances
        if distances is None:  # the first epoch, or a method that makes no graph
            distances = local_distances(embeddings, cameras, **graph)
        return EpochLabels(labels, label_counts(labels) | {"silhouette": silhouette(distances, labels)})

    return lambda epoch, embeddings, world, earlier: world.on_first(lambda: label(epoch, embeddings, earlier))


def beside_source(label: Labeller, identities: Labels) -> Labeller:
    """Return a labeller of the images of `label` followed by those of a source dataset, whose identities are known.

    Clusters and identities are then classes of one memory, as SpCL has it for domain adaptation [Ge et al., NeurIPS
    2020, arXiv:2006.02713]. Two deviations: batches are drawn from all classes alike, where SpCL's hold as many images
    of either dataset, and both share their batch normalisation.
    """
    known = number_clusters(np.where(identities > 0, identities, -1))

    def both(epoch: int, embeddings: Embeddings, world: World, earlier: Sequence[Labels]) -> EpochLabels:
        own = len(embeddings) - len(known)
        found = label(epoch, embeddings[:own], world, [labels[:own] for labels in earlier])
        source = np.where(known >= 0, known + found.labels.max() + 1, -1).astype(np.int32)
        return EpochLabels(np.concatenate([found.labels, source]), found.measures)

    return both
