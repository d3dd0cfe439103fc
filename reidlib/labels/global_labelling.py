"""How images of all cameras are labelled: the settings of `refine`, the cues that are clustered, their distances."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from reidlib.labels.alignment import Alignment, align_cameras, join_cues
from reidlib.labels.graphs import Distances
from reidlib.labels.links import Known
from reidlib.labels.methods import check_method, radius
from reidlib.neighbours.camera_aware import (
    CameraAware,
    camera_aware_distance,
    camera_neighbours,
    fit_to_mutuality,
)
from reidlib.settings import Count, NotNegative, Share, arguments

Embeddings = Float[np.ndarray, "n d"]
Cameras = Int[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class GlobalLabelling:
    """How images of all cameras are clustered and the clusters refined: the section `refine` of params.yaml.

    Attributes:
        k1: neighbours of the k-reciprocal Jaccard distance, the image itself included.
        k2: of its local query expansion.
        original_weight: share of the cosine distance in the distance.
        method: the clustering, `name` and its settings.
        camera_similarity: weight of agreeing local classifiers across cameras, at the first epoch.
        camera_alignment: what of each camera is taken away first: nothing, its mean embedding (centre), its mean and
            covariance (whiten); see `reidlib.labels.alignment`.
        colour_weight: of the images' colours, aligned likewise, beside the embeddings; 0 leaves them out.
        camera_aware: the neighbours of the camera-aware Jaccard distance (`reidlib.neighbours.camera_aware`), in the
            place of k1 and k2; None for the plain one.
        nodes: which members of a cluster refine it: all information nodes, one of each of Infomap's clusters, or none
            (no refinement); see `reidlib.labels.refinement`.
        link_k: neighbours linked for the information scores, the image itself counted, as in `infomap`.
        link_min_similarity: smallest cosine of a link.
        relative: as `local.LocalLabelling` has it.
        constraints: what the clustering must keep (dbscan and linkage can): nothing; images of a tracklet together; and
            tracklets that one camera saw at one moment apart, too. A person's links are kept beside either.
    """

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    original_weight: Share
    method: Mapping[str, Any]
    camera_similarity: NotNegative
    camera_alignment: Alignment
    colour_weight: NotNegative
    camera_aware: Mapping[str, Any] | None
    nodes: Literal["one", "all", "none"]
    link_k: Count
    link_min_similarity: Share
    relative: bool = False
    constraints: Known = "none"


def global_labelling(params: Mapping[str, Any]) -> GlobalLabelling:
    """Return what params.yaml says (`refine`); without camera labels, where all images are of one, nothing is refined.

    Raises:
        ValueError: values out of range, or that do not go together.
    """
    labelling = GlobalLabelling(**arguments(params["refine"], of=GlobalLabelling, where="refine"))
    if labelling.camera_aware is not None:
        arguments(labelling.camera_aware, of=CameraAware, where="refine.camera_aware")
        for key in ("original_weight", "camera_similarity", "relative"):
            if value := getattr(labelling, key):
                raise ValueError(f"refine.{key}: expected 0 beside refine.camera_aware, found {value}")
    if params["dataset"]["camera_labels"]:
        return labelling
    return replace(labelling, nodes="none", camera_similarity=0.0)


def joined_cues(
    embeddings: Embeddings, colours: Float[np.ndarray, "n c"] | None, cameras: Cameras, *, labelling: GlobalLabelling
) -> Float[np.ndarray, "n joined"]:
    """Return what is clustered: the embeddings, and the colours beside them, each aligned across cameras."""
    aligned = align_cameras(embeddings, cameras, alignment=labelling.camera_alignment)
    if not labelling.colour_weight:
        return aligned
    if colours is None:
        raise ValueError(f"refine.colour_weight: {labelling.colour_weight}, but no colours of the images were given")
    second = align_cameras(colours, cameras, alignment=labelling.camera_alignment)
    return join_cues(aligned, second, weight=labelling.colour_weight)


def camera_aware_graphs(
    embeddings: Float[np.ndarray, "n joined"], cameras: Cameras, *, labelling: GlobalLabelling
) -> list[Distances]:
    """Return the camera-aware distances; where the settings adapt, also those of twice as many neighbours.

    With one camera alone, its images have as many neighbours there as they would have on all.

    One graph is as far as the clustering looks; of two all distances are there, so that clusterings can be compared.
    It is one, too, where the images show that twice as many are too many (`fit_to_mutuality`).
    """
    settings = CameraAware(**(labelling.camera_aware or {}))
    if len(np.unique(cameras)) == 1:
        settings = settings.of_one_camera()
    if not settings.adapt:
        furthest = radius(check_method(labelling.method)[1])
        return [camera_aware_distance(embeddings, cameras, settings=settings, max_distance=furthest)]
    doubled = settings.doubled()
    near = camera_neighbours(embeddings, cameras, own=doubled.own_k1, other=doubled.other_k1)
    fitting = dict.fromkeys(fit_to_mutuality(near.other, cameras, settings=one) for one in (settings, doubled))
    return [camera_aware_distance(embeddings, cameras, settings=one, near=near) for one in fitting]
