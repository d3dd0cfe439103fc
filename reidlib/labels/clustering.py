"""Labels from embeddings: one function for all cameras together, one for each camera on its own."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int32

from reidlib.labels.graphs import Distances, blended, block_diagonal
from reidlib.labels.guards import check_labels
from reidlib.labels.methods import (
    EMBEDDING_METHODS,
    GRAPH_METHODS,
    METHODS,
    checked_method,
    parameter_to_move,
    radius,
    takes,
)
from reidlib.labels.numbering import group_numbers, number_clusters
from reidlib.neighbours.blocks import Array
from reidlib.neighbours.jaccard import jaccard_from_neighbours
from reidlib.neighbours.search import Search, nearest, on_gpu
from reidlib.progress import progress

Labels = Int[np.ndarray, "n"]


@dataclass(frozen=True)
class Clustering:
    """Labels, int32, -1 = outlier, clusters numbered without gaps; and the graph, where the method uses one."""

    labels: Int32[np.ndarray, "n"]
    distances: Distances | None = None


def neighbours_needed(method: Mapping[str, Any], *, k1: int) -> int:
    """How many neighbours of each row, itself included, ``cluster`` searches for; 0 where it needs none."""
    name, settings = checked_method(method)
    if name in GRAPH_METHODS:
        return k1
    if not takes(name, "search"):
        return 0
    return int(settings.get("k1", signature(METHODS[name]).parameters["k1"].default))


def cluster(
    embeddings: Float[Array, "n d"],
    *,
    k1: int,
    k2: int,
    method: Mapping[str, Any],
    seed: int,
    complete: bool = False,
    search: Search = nearest,
    original_weight: float = 0.0,
    previous: Labels | None = None,
    guarded: bool = True,
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
        original_weight: share of the original distance in the graph's (``blended``), for the methods that use a graph.
        previous: the labels of the epoch before, for the method that goes on from them (bottom_up).
        guarded: refuse labels that cannot train anything.

    Raises:
        ValueError: on an unknown method or setting, on bad embeddings, or labels that ``check_labels`` refuses.
    """
    name, settings = checked_method(method)
    if neighbours_needed(method, k1=k1):
        embeddings = on_gpu(embeddings)
    if name in EMBEDDING_METHODS:
        if original_weight:
            raise ValueError(f"{name} uses no Jaccard distance: expected original_weight 0, found {original_weight}")
        given = {"search": search} if takes(name, "search") else {}
        result = Clustering(EMBEDDING_METHODS[name](embeddings, seed=seed, **given, **settings))
    else:
        farthest = 1.0 if complete or original_weight else radius(name, settings)  # blended, far pairs may come near
        distances = _graph(embeddings, search, k1=k1, k2=k2, max_distance=farthest, original_weight=original_weight)
        before = {"previous": previous} if takes(name, "previous") else {}
        result = Clustering(GRAPH_METHODS[name](distances, **before, **settings), distances)
    if guarded:
        check_labels(result.labels, parameter=parameter_to_move(name, settings), distances=result.distances)
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
    original_weight: float = 0.0,
    previous: Labels | None = None,
) -> Clustering:
    """Clusters camera by camera (in the order of their numbers); no cluster spans two cameras.

    k1 and k2 are lowered, with a warning, where a camera has no more images than that. The images of a camera that
    has fewer than three are outliers: they have no neighbours to share. `search` is called with each camera's rows;
    `original_weight` and `previous` are as in ``cluster``.

    Returns:
        labels unique over the cameras, numbered by first appearance; the distances of all rows below 1, pairs on
        different cameras at 1 (not stored).

    Raises:
        ValueError: as ``cluster``; the guards look at all cameras together.
    """
    name, settings = checked_method(method)
    labels = np.full(len(embeddings), -1, dtype=np.int64)
    blocks: list[tuple[Int[np.ndarray, "m"], Distances]] = []
    if neighbours_needed(method, k1=k1):
        embeddings = on_gpu(embeddings)
    how: dict[str, Any] = {"seed": seed, "search": search, "original_weight": original_weight}
    for camera, rows in _cameras_rows(embeddings, cameras):
        fitting = lowered(k1, k2, method, images=len(rows), where=f"camera {camera}")
        before = None if previous is None else previous[rows]
        part = cluster(embeddings[rows], **fitting, **how, complete=True, previous=before, guarded=False)
        labels[rows] = np.where(part.labels >= 0, part.labels + (labels.max() + 1), -1)
        if part.distances is not None:
            blocks.append((rows, part.distances))
    distances = block_diagonal(len(embeddings), blocks) if name in GRAPH_METHODS else None
    result = Clustering(number_clusters(labels), distances)
    check_labels(result.labels, parameter=parameter_to_move(name, settings), distances=distances)
    return result


def local_distances(
    embeddings: Float[Array, "n d"], cameras: Int[np.ndarray, "n"], *, k1: int, k2: int, original_weight: float = 0.0
) -> Distances:
    """The distances of ``local_clusters`` without clusters: each camera's complete graph, in one."""
    embeddings = on_gpu(embeddings)
    blocks = []
    for camera, rows in _cameras_rows(embeddings, cameras):
        fitting = lowered(k1, k2, {}, images=len(rows), where=f"camera {camera}")
        how = {"k1": fitting["k1"], "k2": fitting["k2"], "original_weight": original_weight}
        blocks.append((rows, _graph(embeddings[rows], nearest, **how)))
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


def _graph(
    embeddings: Float[Array, "n d"],
    search: Search,
    *,
    k1: int,
    k2: int,
    original_weight: float,
    max_distance: float = 1.0,
) -> Distances:
    similarities, indices = search(embeddings, k=k1)
    graph = jaccard_from_neighbours(embeddings, indices, k2=k2, max_distance=max_distance, similarities=similarities)
    return blended(graph, embeddings, original_weight=original_weight)


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
