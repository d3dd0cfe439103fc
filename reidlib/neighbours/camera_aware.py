"""CA-Jaccard: the Jaccard distance of neighbours that are counted on the own camera and on the others apart.

Camera-aware Jaccard distance [Chen et al., CVPR 2024]: most nearest neighbours are images of the own camera, whoever is
on them, so that images of one camera share neighbours and images of two share none. Here every image has as many
neighbours on other cameras as it is given, however far they are. Time and memory grow with n · k beside the search,
which costs what one search of all images costs.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.sparse import csr_array

from reidlib.neighbours.jaccard import overlap_distances
from reidlib.neighbours.search import nearest
from reidlib.neighbours.weights import Rows
from reidlib.settings import Count

Embeddings = Float[np.ndarray, "n d"]
Cameras = Int[np.ndarray, "n"]
DROP = 0.1  # of the share of mutual neighbours from one rank to the next, that tells where a person's images end


@dataclass(frozen=True, kw_only=True)
class CameraAware:
    """How many neighbours are counted.

    Attributes:
        own_k1: on the own camera, the image itself included. 1: nobody has a second image there, and the distance of
            two images of one camera is 1.
        other_k1: on all other cameras together (in the published code one more than its k1_inter).
        own_k2: of these, how many the weights are averaged over, the image itself included.
        other_k2: likewise, of other cameras.
        adapt: lower them where the images show that nobody has so many (`fit_to_mutuality`); and try twice as many,
            which are kept where clusters stand better apart so (`reidlib.labels.icsr.global_labels`).
    """

    own_k1: Count = 6
    other_k1: Count = 21
    own_k2: Count = 2
    other_k2: Count = 4
    adapt: bool = False

    def doubled(self) -> "CameraAware":
        """Return twice as many of each."""
        numbers = {name: 2 * getattr(self, name) for name in ("own_k1", "other_k1", "own_k2", "other_k2")}
        return replace(self, **numbers)

    def of_one_camera(self) -> "CameraAware":
        """Return what there is where nobody is on another camera: as many neighbours in all, on the own one."""
        return replace(self, own_k1=self.own_k1 + self.other_k1, own_k2=self.own_k2 + self.other_k2)


class CameraNeighbours(NamedTuple):
    """Each row's nearest rows on its own camera (itself first) and on others: entries in order, as exp(2·cosine − 2).

    Rows of a camera with too few images have fewer entries.
    """

    own: csr_array
    other: csr_array


def camera_aware_distance(
    embeddings: Embeddings,
    cameras: Cameras,
    *,
    settings: CameraAware,
    max_distance: float = 1.0,
    near: CameraNeighbours | None = None,
) -> csr_array:
    """Return the camera-aware Jaccard distances of all pairs that share a neighbour.

    The reciprocal neighbours of a row are those of its own_k1 nearest on the own camera, and of its other_k1 nearest
    on others, that have the row among theirs. Weights = softmax of −(2 − 2·xᵢ·xⱼ) over both together, then averaged
    over the row's own_k2 and other_k2 nearest. There is no expansion, as in the published code.

    Args:
        embeddings: unit-norm rows.
        cameras: of the rows. With one camera there are no others, and neighbours of the own one are all.
        settings: how many neighbours.
        max_distance: pairs further apart are not stored.
        near: `camera_neighbours`, so many or more; None: they are searched for.

    Returns:
        As `reidlib.neighbours.jaccard.jaccard_from_neighbours`.

    Raises:
        ValueError: where there are fewer than two rows, or a camera is missing; and as the search.
    """
    n = len(embeddings)
    if len(cameras) != n or n < 2:
        raise ValueError(f"camera-aware distance: expected at least 2 rows with a camera each, got {n}, {len(cameras)}")
    near = near or camera_neighbours(embeddings, cameras, own=settings.own_k1, other=settings.other_k1)
    if settings.adapt:
        settings = fit_to_mutuality(near.other, cameras, settings=settings)
    near = CameraNeighbours(_first(near.own, settings.own_k1), _first(near.other, settings.other_k1))
    weights = (_reciprocal(near.own) + _reciprocal(near.other)).tocsr()
    weights = _divide_rows(weights, weights.sum(axis=1))
    chosen = _first(near.own, settings.own_k2) + _first(near.other, settings.other_k2)
    chosen.data[:] = 1
    averaged = (_divide_rows(chosen, np.diff(chosen.indptr)) @ weights).tocsr()
    averaged.sort_indices()
    pointers, columns = averaged.indptr.astype(np.int64), averaged.indices.astype(np.int32)
    distances = overlap_distances(Rows(pointers, columns, averaged.data.astype(np.float32)), max_distance)
    return distances if settings.own_k1 > 1 else _apart(distances, cameras)


def camera_neighbours(embeddings: Embeddings, cameras: Cameras, *, own: int, other: int) -> CameraNeighbours:
    """Return the nearest rows on the own camera, itself first, and on the others, exactly."""
    n = len(embeddings)
    parts: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {"own": [], "other": []}
    for camera in np.unique(cameras):
        here, elsewhere = np.flatnonzero(cameras == camera), np.flatnonzero(cameras != camera)
        found = nearest(embeddings[here], k=min(own, len(here)))
        parts["own"].append((here, here[found.indices], found.similarities))
        if len(elsewhere):
            found = nearest(embeddings[elsewhere], k=min(other, len(elsewhere)), queries=embeddings[here])
            parts["other"].append((here, elsewhere[found.indices], found.similarities))
    return CameraNeighbours(*(_lists(n, parts[name]) for name in ("own", "other")))


def mutual_shares(other: csr_array, *, most: int) -> Float64[np.ndarray, "most"]:
    """Return for each rank k the share of rows that are among the k nearest of their k-th nearest on other cameras.

    Args:
        other: `camera_neighbours` on other cameras.
        most: ranks to look at; 0 where no row has so many.
    """
    n = other.shape[0]
    rows = np.repeat(np.arange(n), np.diff(other.indptr))
    rank = np.arange(other.nnz) - other.indptr[rows]
    back = csr_array((rank.astype(np.float64) + 1, (other.indices, rows)), shape=(n, n))
    returned = np.asarray(back[rows, other.indices]).reshape(-1)  # rank of the row in its neighbour's list; 0: absent
    mutual = (returned > 0) & (returned <= rank + 1)
    counts = np.bincount(rank, minlength=most)[:most]
    return np.bincount(rank[mutual], minlength=most)[:most] / np.maximum(counts, 1)


def fit_to_mutuality(other: csr_array, cameras: Cameras, *, settings: CameraAware) -> CameraAware:
    """Lower the numbers of neighbours to what the images show a person to have.

    Nearest images on other cameras are mutual more often while they show the same person. Where the share of mutual
    neighbours falls by more than a tenth, and more than three standard errors, from one rank to the next, that rank is
    where a person's images on other cameras end: other_k1 becomes it, and own_k1 its share of one camera. Where it
    falls nowhere (people with many images, or embeddings that know too little), and with one camera alone, all stays
    as it is. What is returned is not adapted again (`adapt` is false).
    """
    n = other.shape[0]
    settings = replace(settings, adapt=False)
    if not other.nnz:
        return settings
    shares = mutual_shares(other, most=settings.other_k1)
    falls = shares[:-1] - shares[1:]
    if not len(falls) or falls.max() <= max(DROP, 3 * np.sqrt(0.5 / n)):
        return settings
    elsewhere = int(falls.argmax()) + 1
    own_k1 = min(settings.own_k1, max(1, round(elsewhere / (len(np.unique(cameras)) - 1))))
    return replace(
        settings,
        own_k1=own_k1,
        other_k1=elsewhere,
        own_k2=min(settings.own_k2, own_k1),
        other_k2=min(settings.other_k2, elsewhere),
    )


def _lists(n: int, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> csr_array:
    """Return lists of neighbours of all rows as a matrix whose entries keep their order."""
    counts = np.zeros(n, np.int64)
    for rows, columns, _ in parts:
        counts[rows] = columns.shape[1]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    for rows, columns, similarities in parts:
        places = indptr[rows][:, None] + np.arange(columns.shape[1])
        indices[places], data[places] = columns, np.exp(2 * similarities - 2)
    return csr_array((data, indices, indptr), shape=(n, n))


def _first(lists: csr_array, k: int) -> csr_array:
    """Return the first k entries of each row."""
    rank = np.arange(lists.nnz) - np.repeat(lists.indptr[:-1], np.diff(lists.indptr))
    kept = np.flatnonzero(rank < k)
    starts = np.searchsorted(kept, lists.indptr)
    return csr_array((lists.data[kept], lists.indices[kept], starts), shape=lists.shape)


def _reciprocal(lists: csr_array) -> csr_array:
    """Return the entries whose transposed entry is there too."""
    back = lists.T.tocsr()
    back.data = np.ones_like(back.data)
    return lists.multiply(back).tocsr()


def _apart(distances: csr_array, cameras: Cameras) -> csr_array:
    """Return the distances without those between two images of one camera."""
    rows = np.repeat(np.arange(distances.shape[0]), np.diff(distances.indptr))
    kept = np.flatnonzero((cameras[rows] != cameras[distances.indices]) | (rows == distances.indices))
    starts = np.searchsorted(kept, distances.indptr).astype(distances.indptr.dtype)
    return csr_array((distances.data[kept], distances.indices[kept], starts), shape=distances.shape)


def _divide_rows(matrix: csr_array, divisors: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]) -> csr_array:
    scale = (1 / np.asarray(divisors, np.float64)).astype(np.float32)
    data: Float32[np.ndarray, "entries"] = matrix.data * np.repeat(scale, np.diff(matrix.indptr))
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
