"""Between which cameras it works and fails: retrieval where identities are known, clusters with and without them."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64, Integer
from scipy import sparse

from reidlib.retrieval.metrics import cosine_tiles

Numbers = Integer[np.ndarray, "_"]
Matrix = Float64[np.ndarray, "cameras cameras"]


def found_again(labels: Int[np.ndarray, "n"], places: Int[np.ndarray, "n"], count: int) -> Matrix:
    """Return, of the clusters seen on a camera (row), the share seen on another (column) too; needs no identity.

    `places` are the cameras of the images, as 0..count - 1. NaN on the diagonal and for cameras without clusters.
    """
    inside = labels >= 0
    seen = np.zeros((int(labels.max(initial=-1)) + 1, count))
    seen[labels[inside], places[inside]] = 1
    return _share(seen.T @ seen, seen.sum(axis=0)[:, None], without_diagonal=True)


def pairs_joined(
    labels: Int[np.ndarray, "n"], identities: Int[np.ndarray, "n"], places: Int[np.ndarray, "n"], count: int
) -> tuple[Matrix, Matrix]:
    """Return recall and precision of the pairs of images that clusters join, for each pair of cameras.

    Recall: of the pairs of one individual, one image on each camera, the share in one cluster. Precision: of the pairs
    in one cluster, the share of one individual. An outlier is alone; images of no known individual take no part (0 and
    below). Both are symmetric; NaN where there is no such pair.
    """
    known = identities > 0
    labels, identities, places = labels[known].astype(np.int64), identities[known].astype(np.int64), places[known]
    alone = labels < 0
    labels[alone] = int(labels.max(initial=-1)) + 1 + np.arange(int(alone.sum()))
    both = np.unique(np.stack([labels, identities]), axis=1, return_inverse=True)[1].reshape(-1)
    right, of_identity, of_cluster = (_pairs(group, places, count) for group in (both, identities, labels))
    return _share(right, of_identity), _share(right, of_cluster)


def first_answers(
    embeddings: Mapping[str, Float32[np.ndarray, "_ d"]],
    identities: Mapping[str, Numbers],
    places: Mapping[str, Numbers],
    count: int,
) -> tuple[Matrix, Int64[np.ndarray, "cameras cameras"]]:
    """Return, for queries of each camera (row) in the gallery of each other (column), the share right at rank 1.

    And the number of queries: those whose individual is in the gallery of that camera. Distractors (0) may come first,
    images of unknown identity (-1) take no part. Arguments by `query` and `gallery`; `places` as in `found_again`.
    """
    right, asked = np.zeros((count, count)), np.zeros((count, count), np.int64)
    kept = [np.flatnonzero((places["gallery"] == camera) & (identities["gallery"] >= 0)) for camera in range(count)]
    for part, cosines in cosine_tiles(embeddings["query"], embeddings["gallery"]):
        who, where = identities["query"][part], places["query"][part]
        for camera, columns in enumerate(kept):
            there = np.isin(who, identities["gallery"][columns]) & (who > 0) & (where != camera)
            if not there.any():
                continue
            first = columns[cosines[np.ix_(there, columns)].argmax(axis=1)]
            np.add.at(asked[:, camera], where[there], 1)
            np.add.at(right[:, camera], where[there], identities["gallery"][first] == who[there])
    return _share(right, asked), asked


def _pairs(groups: Int64[np.ndarray, "n"], places: Int[np.ndarray, "n"], count: int) -> Matrix:
    """Count pairs of different images of one group by both their cameras; on the diagonal each pair twice."""
    numbered = np.unique(groups, return_inverse=True)[1].reshape(-1)
    shape = (int(numbered.max(initial=-1)) + 1, count)
    table = sparse.csr_array((np.ones(len(groups)), (numbered, places)), shape=shape)
    counts: Matrix = (table.T @ table).toarray()
    return counts - np.diag(table.sum(axis=0))


def _share(part: Float64[np.ndarray, "c c"], whole: Integer[np.ndarray, "c _"] | Float64[np.ndarray, "c _"],
           *, without_diagonal: bool = False) -> Matrix:  # fmt: skip
    shares = np.divide(part, whole, out=np.full(part.shape, np.nan), where=np.broadcast_to(whole, part.shape) > 0)
    if without_diagonal:
        np.fill_diagonal(shares, np.nan)
    return shares
