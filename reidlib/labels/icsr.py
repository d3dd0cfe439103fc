"""ICSR: clusters across cameras, cleaned by the clusters that each camera finds on its own.

Pseudo-label refinement with intra-camera similarity [Li et al., ICIP 2023, arXiv:2304.12634]. An epoch's labels: cues
aligned across cameras -> nearest neighbours -> clusters of all images -> information scores -> refined labels. Without
refinement (`nodes: none`) it is the labelling of Cluster Contrast and its descendants, and of `aligned_cues`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int32

from reidlib.labels.camera_similarity import candidates_needed, nearer_across_cameras
from reidlib.labels.clustering import apart, cluster, fit_to_images, neighbours_needed
from reidlib.labels.constraints import Constraints, keep_groups_whole
from reidlib.labels.global_labelling import GlobalLabelling, camera_aware_graphs, joined_cues
from reidlib.labels.guards import check_labels
from reidlib.labels.methods import parameter_to_move, takes
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.labels.quality import label_measures
from reidlib.labels.refinement import refined_clusters
from reidlib.labels.signs import camera_probe, stability
from reidlib.neighbours.search import Search, nearest

Embeddings = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, "n"]
Cameras = Int[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class GlobalLabeller:
    """The labels of each epoch: those of `refine` first, then clusters of the epoch's embeddings, refined.

    Attributes:
        first: the labels of epoch 0; of all epochs where the method is `identities`.
        local: labels inside cameras, unique over cameras, which refine the clusters.
        cameras: of the images.
        labelling: how labels are made.
        seed: of the clusterings that draw.
        epochs: in all; the weight of the camera similarity falls as (1 - epoch / epochs) ** .6 [Xuan & Zhang, TPAMI
            2022].
        colours: descriptors of the images' colours, unit-norm rows; needed where `labelling.colour_weight` is not 0.
        newest_local: where epochs inside cameras take turns, gives for an epoch the one before it whose labels are the
            local ones.
        counted_as: gives for an epoch the one that the weight of the camera similarity is taken at: itself, or, where
            rounds are counted, its round's first.
        constraints: what is known of the images, which clusters and their refinement keep.
    """

    first: Int32[np.ndarray, "n"]
    local: Int32[np.ndarray, "n"]
    cameras: Cameras
    labelling: GlobalLabelling
    seed: int
    epochs: int
    colours: Embeddings | None = None
    newest_local: Callable[[int], int] | None = None
    counted_as: Callable[[int], int] = int
    constraints: Constraints | None = None

    def __call__(self, epoch: int, embeddings: Embeddings, world: Any, earlier: Sequence[Labels]) -> PseudoLabels:
        """Return the labels of an epoch (from 0).

        Args:
            epoch: from 0.
            embeddings: unit-norm rows of all images.
            world: the processes that train together (`reidlib.training.distributed.World`).
            earlier: the labels of the epochs before.
        """
        if self.labelling.method["name"] == "identities" or (epoch == 0 and self.newest_local is None):
            return PseudoLabels(self.first, label_measures(self.first, self.cameras))
        similarity = self.labelling.camera_similarity * (1 - self.counted_as(epoch) / self.epochs) ** 0.6
        found = global_labels(
            embeddings,
            self.local if self.newest_local is None else earlier[self.newest_local(epoch)],
            self.cameras,
            labelling=replace(self.labelling, camera_similarity=similarity),
            seed=self.seed + epoch,
            search=world.search,
            once=world.on_first,
            previous=earlier[-1] if self.newest_local is None else None,
            colours=self.colours,
            constraints=self.constraints,
        )
        stable = {"stability": stability(found.labels, earlier[-1])} if earlier else {}
        return replace(found, measures=found.measures | stable)


def global_labels(
    embeddings: Embeddings,
    local: Labels,
    cameras: Cameras,
    *,
    labelling: GlobalLabelling,
    seed: int,
    search: Search = nearest,
    once: Callable[[Callable[[], PseudoLabels]], PseudoLabels] = lambda label: label(),
    previous: Labels | None = None,
    colours: Float[np.ndarray, "n c"] | None = None,
    constraints: Constraints | None = None,
) -> PseudoLabels:
    """Cluster all images, and refine the clusters by intra-camera similarity.

    Args:
        embeddings: unit-norm rows.
        local: labels inside cameras, unique over cameras, -1 = outlier.
        cameras: of the images.
        labelling: how.
        seed: of the clusterings that draw.
        search: finds the nearest neighbours, which cost most; several processes do it together.
        once: calls a function in one of several processes and gives its result to all.
        previous: the labels of the epoch before, which a clustering that goes on step by step starts from.
        colours: unit-norm rows that describe the images' colours, the second cue.
        constraints: images that belong together and that do not. No cluster breaks them; of a group refinement keeps
            every image where it keeps one.

    Returns:
        The refined labels; their number of clusters, share of outliers and share of clusters that span cameras, and
        the share of images that refinement turned into outliers; and how far a probe tells the camera of what is
        clustered (`camera_probe`).
    """
    images = len(embeddings)
    embeddings = joined_cues(embeddings, colours, cameras, labelling=labelling)
    aware = labelling.camera_aware is not None and takes(labelling.method["name"], "distances")
    if not aware:  # camera-aware neighbours are as many as there are
        labelling = fit_to_images(labelling, images=images, where="the training set")
    needed = 0 if aware else neighbours_needed(labelling)
    candidates = candidates_needed(needed, images=images) if labelling.camera_similarity else needed
    links = min(labelling.link_k, images) if labelling.nodes != "none" else 0
    neighbours = search(embeddings, k=max(candidates, links)) if max(candidates, links) else None

    def label() -> PseudoLabels:
        near = neighbours
        if labelling.camera_similarity and neighbours and needed:
            weight = labelling.camera_similarity
            near = nearer_across_cameras(embeddings, neighbours, local, cameras, weight=weight, k=needed)
        graphs = camera_aware_graphs(embeddings, cameras, labelling=labelling) if aware else [None]
        found = [
            cluster(
                embeddings,
                near,
                labelling=labelling,
                seed=seed,
                previous=previous,
                distances=graph,
                constraints=constraints,
            )
            for graph in graphs
        ]
        clustering = max(found, key=apart) if len(found) > 1 else found[0]
        clusters, distances = clustering.labels, clustering.distances
        check_labels(clusters, parameter=parameter_to_move(labelling.method), distances=distances)
        refined = clusters
        if labelling.nodes != "none" and neighbours:
            refined = refined_clusters(clusters, local, cameras, neighbours, labelling=labelling, seed=seed)
            refined = refined if constraints is None else keep_groups_whole(refined, constraints)
            check_labels(refined, parameter="refine.nodes", distances=distances)
        dropped = float(((refined < 0) & (clusters >= 0)).mean())
        signs = {"refined_share": dropped, "camera_probe": camera_probe(embeddings, cameras)}
        return PseudoLabels(refined, label_measures(refined, cameras) | signs)

    return once(label)
