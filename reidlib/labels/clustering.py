"""Clusters of embeddings: nearest neighbours, the k-reciprocal Jaccard graph where the method wants one, the method."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int32

from reidlib.labels.constraints import Constraints
from reidlib.labels.graphs import Distances, blend
from reidlib.labels.methods import METHODS, check_constrained, check_method, radius, takes
from reidlib.labels.numbering import separate_outliers
from reidlib.labels.quality import silhouette
from reidlib.neighbours.jaccard import jaccard_from_neighbours
from reidlib.neighbours.search import Neighbours, largest_distances, nearest


@runtime_checkable
class Labelling(Protocol):
    """What local and global labels are made by: see `local.LocalLabelling`."""

    @property
    def k1(self) -> int: ...  # noqa: D102

    @property
    def k2(self) -> int: ...  # noqa: D102

    @property
    def original_weight(self) -> float: ...  # noqa: D102

    @property
    def relative(self) -> bool: ...  # noqa: D102

    @property
    def method(self) -> Mapping[str, Any]: ...  # noqa: D102


AnyLabelling = TypeVar("AnyLabelling", bound=Labelling)


@dataclass(frozen=True)
class Clustering:
    """Labels, clusters numbered without gaps and -1 = outlier; the graph, where the method uses one; known groups."""

    labels: Int32[np.ndarray, "n"]
    distances: Distances | None = None
    groups: Int32[np.ndarray, "n"] | None = None


def apart(clustering: Clustering) -> float:
    """Return how well clusters stand apart: their silhouette on their graph, an outlier's being 0; -1 for one alone."""
    assert clustering.distances is not None
    labels = separate_outliers(clustering.labels)
    return silhouette(clustering.distances, labels, groups=clustering.groups) if labels.max(initial=0) > 0 else -1.0


def neighbours_needed(labelling: Labelling) -> int:
    """Return how many neighbours of each row, itself included, `cluster` needs; 0 where it needs none."""
    name, settings = check_method(labelling.method)
    if takes(name, "distances"):
        return labelling.k1
    return int(settings["k1"]) if takes(name, "neighbours") else 0


def cluster(
    embeddings: Float[np.ndarray, "n d"],
    neighbours: Neighbours | None = None,
    *,
    labelling: Labelling,
    seed: int,
    complete: bool = False,
    previous: Int[np.ndarray, "n"] | None = None,
    distances: Distances | None = None,
    constraints: Constraints | None = None,
) -> Clustering:
    """Return clusters of all rows together.

    Args:
        embeddings: unit-norm rows.
        neighbours: `neighbours_needed` nearest rows of each row or more, itself first; None: they are searched for.
        labelling: how: distances and method.
        seed: for the methods that draw (infomap, kmeans).
        complete: keep every distance below 1 even where the method needs only those within its radius.
        previous: the labels of the epoch before, for the method that goes on from them (bottom_up).
        distances: the graph, where it was made otherwise than `distance_graph` makes it.
        constraints: which rows belong together and which do not; no label breaks them.

    Raises:
        ValueError: on an unknown method or setting, too few neighbours, or bad embeddings; constraints with a method
            that keeps none.
    """
    name, settings = check_method(labelling.method)
    if constraints is not None:
        check_constrained(name, where="method")
    needed = 0 if distances is not None else neighbours_needed(labelling)
    if needed:
        neighbours = neighbours or nearest(embeddings, k=needed)
        if neighbours.indices.shape[1] < needed:
            raise ValueError(f"{name}: expected {needed} neighbours of each row, got {neighbours.indices.shape[1]}")
    if takes(name, "distances") and distances is None:
        whole = complete or labelling.original_weight > 0  # blended, far pairs may come near
        distances = distance_graph(embeddings, neighbours, labelling, max_distance=1.0 if whole else radius(settings))
    elif labelling.original_weight and not takes(name, "distances"):
        raise ValueError(
            f"{name} uses no Jaccard distance: expected original_weight 0, found {labelling.original_weight}"
        )
    data = {"distances": distances, "embeddings": embeddings, "neighbours": neighbours}
    given: dict[str, Any] = {**data, "seed": seed, "previous": previous, "constraints": constraints}
    taken = {what: value for what, value in given.items() if takes(name, what)}
    groups = None if constraints is None else (constraints.before or constraints).groups
    return Clustering(METHODS[name](**taken, **settings), distances, groups)


def distance_graph(
    embeddings: Float[np.ndarray, "n d"],
    neighbours: Neighbours | None,
    labelling: Labelling,
    *,
    max_distance: float = 1.0,
) -> Distances:
    """Return the Jaccard distances of rows, blended with the original ones; further pairs are not stored.

    `neighbours` are the k1 nearest rows of each row or more; None: they are searched for.
    """
    near = neighbours or nearest(embeddings, k=labelling.k1)
    similarities, indices = (part[:, : labelling.k1] for part in near)
    largest = largest_distances(embeddings) if labelling.relative else None
    graph = jaccard_from_neighbours(
        embeddings, indices, k2=labelling.k2, max_distance=max_distance, similarities=similarities, largest=largest
    )
    return blend(graph, embeddings, original_weight=labelling.original_weight, largest=largest)


def fit_to_images(labelling: AnyLabelling, *, images: int, where: str) -> AnyLabelling:
    """Return the labelling with no k above what so many images allow; warn where k1 is cut."""
    method = dict(labelling.method)
    k1 = max(labelling.k1, method.get("k1", 0))
    if "k1" in method:
        method["k1"] = min(method["k1"], images - 1)
    if images <= k1:
        warnings.warn(
            f"clustering: {where} has {images} images, too few for k1 = {k1}; {images - 1} is used there",
            stacklevel=3,
        )
    fitting: dict[str, Any] = {"k1": min(labelling.k1, images - 1), "k2": min(labelling.k2, images - 1)}
    return replace(labelling, **fitting, method=method)  # type: ignore[type-var]
