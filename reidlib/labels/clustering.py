"""Labels from embeddings: one function for all cameras together, one for each camera on its own."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int32

from reidlib.labels.dbscan import dbscan, resolve_eps
from reidlib.labels.graphs import Distances, block_diagonal
from reidlib.labels.guards import check_labels
from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.kmeans import kmeans
from reidlib.labels.linkage import linkage, resolve_cut
from reidlib.labels.numbering import group_numbers, number_clusters
from reidlib.labels.selfpaced import DEFAULT_GAP, self_paced
from reidlib.neighbours.blocks import Array
from reidlib.neighbours.jaccard import jaccard_from_neighbours
from reidlib.neighbours.search import Search, nearest, on_gpu
from reidlib.progress import progress

GRAPH_METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = {
    "dbscan": dbscan,
    "linkage": linkage,
    "self_paced": self_paced,
}
"""Methods on the sparse Jaccard graph: method(distances, **settings) -> labels."""

EMBEDDING_METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = {"infomap": infomap, "kmeans": kmeans}
"""Methods on the embeddings: method(embeddings, seed=seed, **settings) -> labels; infomap takes a `search` too."""

METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = GRAPH_METHODS | EMBEDDING_METHODS

GIVEN = ("distances", "embeddings", "seed", "search")
"""What a method is given beside its settings."""

_PARAMETER_TO_MOVE = {
    "dbscan": ("eps", "quantile"),
    "linkage": ("n_clusters", "images_per_cluster", "distance_threshold", "quantile"),
    "self_paced": ("eps",),
    "infomap": ("min_similarity",),
    "kmeans": ("n_clusters", "images_per_cluster"),
}


@dataclass(frozen=True)
class Clustering:
    """What a clustering made.

    Attributes:
        labels: int32, -1 = outlier, clusters numbered without gaps.
        distances: the sparse Jaccard graph, where the method uses one.
        complete: whether ``distances`` holds every pair below 1, which an exact silhouette needs.
        chosen: settings that were derived from the data: eps of "auto" or a quantile, the linkage's cut.
    """

    labels: Int32[np.ndarray, "n"]
    distances: Distances | None = None
    complete: bool = False
    chosen: Mapping[str, float | int] = field(default_factory=dict)


def neighbours_needed(method: Mapping[str, Any], *, k1: int) -> int:
    """How many neighbours of each row, itself included, ``cluster`` searches for; 0 where it needs none."""
    name, settings = _checked(method)
    if name in GRAPH_METHODS:
        return k1
    parameters = inspect.signature(METHODS[name]).parameters
    return int(settings.get("k1", parameters["k1"].default)) if "search" in parameters else 0


def cluster(
    embeddings: Float[Array, "n d"],
    *,
    k1: int,
    k2: int,
    method: Mapping[str, Any],
    seed: int,
    complete: bool = False,
    search: Search = nearest,
) -> Clustering:
    """Clusters of all rows together.

    Where there is a GPU the embeddings go there once, and neighbours and Jaccard distances are computed on it; the
    stored distances come back, on which the clustering takes milliseconds. Tensors are computed with where they are.

    Args:
        embeddings: unit-norm rows.
        k1: neighbours of the Jaccard distance [Zhong et al., CVPR 2017, arXiv:1701.08398], the row itself included.
        k2: neighbours of its query expansion.
        method: {"name": one of METHODS, **its settings}.
        seed: for the methods that draw (infomap, kmeans).
        complete: keep every distance below 1 even where the method needs only those within its radius.
        search: finds ``neighbours_needed`` neighbours; ``remembered(found)`` where the caller has searched before.

    Raises:
        ValueError: on an unknown method or setting, on bad embeddings, or labels that ``check_labels`` refuses.
    """
    name, settings = _checked(method)
    if neighbours_needed(method, k1=k1):
        embeddings = on_gpu(embeddings)
    result = _clustered(embeddings, k1=k1, k2=k2, method=method, seed=seed, complete=complete, search=search)
    check_labels(result.labels, parameter=_parameter(name, settings), distances=result.distances)
    return result


def local_clusters(
    embeddings: Float[Array, "n d"],
    cameras: Int[np.ndarray, "n"],
    *,
    k1: int,
    k2: int,
    method: Mapping[str, Any],
    seed: int,
    search: Search = nearest,
) -> Clustering:
    """Clusters camera by camera (in the order of their numbers); no cluster spans two cameras.

    k1 and k2 are lowered, with a warning, where a camera has no more images than that. The images of a camera that
    has fewer than three are outliers: they have no neighbours to share. `search` is called with each camera's rows.

    Returns:
        labels unique over the cameras, numbered by first appearance; the distances of all rows, complete, pairs on
        different cameras at 1 (not stored); ``chosen`` holds each derived setting per camera ("eps/0", "eps/1", …).

    Raises:
        ValueError: as ``cluster``; the guards look at all cameras together.
    """
    name, settings = _checked(method)
    labels = np.full(len(embeddings), -1, dtype=np.int64)
    blocks: list[tuple[Int[np.ndarray, "m"], Distances]] = []
    chosen: dict[str, float | int] = {}
    if neighbours_needed(method, k1=k1):
        embeddings = on_gpu(embeddings)
    for camera, rows in _cameras_rows(embeddings, cameras):
        fitting = lowered(k1, k2, method, images=len(rows), where=f"camera {camera}")
        part = _clustered(embeddings[rows], **fitting, seed=seed, complete=True, search=search)
        labels[rows] = np.where(part.labels >= 0, part.labels + (labels.max() + 1), -1)
        chosen |= {f"{setting}/{camera}": value for setting, value in part.chosen.items()}
        if part.distances is not None:
            blocks.append((rows, part.distances))
    distances = block_diagonal(len(embeddings), blocks) if name in GRAPH_METHODS else None
    result = Clustering(number_clusters(labels), distances, complete=distances is not None, chosen=chosen)
    check_labels(result.labels, parameter=_parameter(name, settings), distances=distances)
    return result


def local_distances(
    embeddings: Float[Array, "n d"], cameras: Int[np.ndarray, "n"], *, k1: int, k2: int, search: Search = nearest
) -> Distances:
    """The distances of ``local_clusters`` without clusters: each camera's complete Jaccard graph, in one."""
    embeddings = on_gpu(embeddings)
    blocks = []
    for camera, rows in _cameras_rows(embeddings, cameras):
        fitting = lowered(k1, k2, {}, images=len(rows), where=f"camera {camera}")
        part = embeddings[rows]
        similarities, indices = search(part, k=fitting["k1"])
        blocks.append((rows, jaccard_from_neighbours(part, indices, k2=fitting["k2"], similarities=similarities)))
    return block_diagonal(len(embeddings), blocks)


def local_identities(identities: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"]) -> Clustering:
    """The ground truth as a clustering inside cameras: the labels of supervised training; unknown (<= 0) = outlier."""
    return Clustering(number_clusters(np.where(identities > 0, group_numbers(identities, cameras), -1)))


def _cameras_rows(
    embeddings: Float[Array, "n d"], cameras: Int[np.ndarray, "m"]
) -> Iterator[tuple[int, Int[np.ndarray, "_"]]]:
    """Each camera that has three images or more, and its rows."""
    if len(cameras) != len(embeddings):
        raise ValueError(f"local clusters: expected a camera per row, found {len(cameras)} for {len(embeddings)} rows")
    for camera in progress(np.unique(cameras), "local clusters"):
        rows = np.flatnonzero(cameras == camera)
        if len(rows) >= 3:
            yield int(camera), rows


def _checked(method: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method's name and settings, both known."""
    settings = dict(method)
    name = settings.pop("name", None)
    if name not in METHODS:
        raise ValueError(f"clustering method: expected a name among {sorted(METHODS)}, found {name!r}")
    parameters = inspect.signature(METHODS[name]).parameters
    known = {key: value.default for key, value in parameters.items() if key not in GIVEN}
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"{name}: unknown setting {', '.join(unknown)}; known: {', '.join(known)}")
    if missing := [key for key, default in known.items() if default is inspect.Parameter.empty and key not in settings]:
        raise ValueError(f"{name}: missing setting {', '.join(missing)}; known: {', '.join(known)}")
    return name, settings


def _parameter(name: str, settings: Mapping[str, Any]) -> str:
    """The parameter that moves this method's number of clusters."""
    given = [key for key in _PARAMETER_TO_MOVE[name] if settings.get(key) is not None]
    key = given[0] if given else _PARAMETER_TO_MOVE[name][0]
    return f"{name}'s {key} (now {settings.get(key, 'its default')})"


def _clustered(
    embeddings: Float[Array, "n d"],
    *,
    k1: int,
    k2: int,
    method: Mapping[str, Any],
    seed: int,
    complete: bool,
    search: Search,
) -> Clustering:
    """``cluster`` without the guards."""
    name, settings = _checked(method)
    if name in EMBEDDING_METHODS:
        given = {"search": search} if neighbours_needed(method, k1=k1) else {}
        return Clustering(EMBEDDING_METHODS[name](embeddings, seed=seed, **given, **settings))
    radius = 1.0 if complete else _radius(name, settings)
    similarities, indices = search(embeddings, k=k1)
    distances = jaccard_from_neighbours(embeddings, indices, k2=k2, max_distance=radius, similarities=similarities)
    resolved = _resolved(name, settings, distances)
    labels = GRAPH_METHODS[name](distances, **resolved)
    chosen = {key: value for key, value in resolved.items() if settings.get(key) != value}
    return Clustering(labels, distances, complete=radius >= 1, chosen=chosen)


def _radius(name: str, settings: Mapping[str, Any]) -> float:
    """The largest distance that the method looks at, 1 where it must see them all."""
    eps = settings.get("eps")
    if name not in ("dbscan", "self_paced") or not isinstance(eps, int | float):
        return 1.0
    gap = settings.get("gap", DEFAULT_GAP) if name == "self_paced" else 0.0
    return min(1.0, float(eps) + float(gap))


def _resolved(name: str, settings: dict[str, Any], distances: Distances) -> dict[str, Any]:
    """The settings with numbers in the place of "auto", quantiles and images per cluster."""
    if name == "dbscan":
        return {"min_samples": settings["min_samples"], "eps": resolve_eps(distances, **settings)}
    if name == "linkage":
        return dict(resolve_cut(distances, **settings))
    return {**settings, "eps": resolve_eps(distances, min_samples=settings["min_samples"], eps=settings["eps"])}


def lowered(k1: int, k2: int, method: Mapping[str, Any], *, images: int, where: str) -> dict[str, Any]:
    """k1, k2 and method as ``cluster`` takes them, no k above what so many images allow; warns where it lowers."""
    fitting = dict(method)
    if "k1" in method:
        fitting["k1"] = min(method["k1"], images - 1)
    if images <= max(k1, method.get("k1", 0)):
        warnings.warn(
            f"clustering: {where} has {images} images, too few for k1 = {max(k1, method.get('k1', 0))}; "
            f"{images - 1} is used there",
            stacklevel=3,
        )
    return {"k1": min(k1, images - 1), "k2": min(k2, images - 1), "method": fitting}
