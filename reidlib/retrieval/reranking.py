"""k-reciprocal re-ranking of a gallery [Zhong et al., CVPR 2017, arXiv:1701.08398], tile by tile."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from reidlib.neighbours import kernels
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.search import largest_distances, nearest
from reidlib.neighbours.weights import Rows, inverted_lists, neighbour_weights

TILE_ENTRIES = 1 << 25  # 128 MiB of scores at a time


def reranked_tiles(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g d"],
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    like: Literal["paper", "authors"] = "paper",
    tile: int | None = None,
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows g"]]]:
    """Scores of the gallery for each query, higher = better: −((1 − weight) · Jaccard + weight · original distance).

    The Jaccard distance is that of `neighbours.jaccard` over queries and gallery together; the original distance is the
    squared Euclidean one, 2 − 2·q·g, as in the paper, which leaves open whether k1 counts the row itself: with "paper"
    it does, as in `neighbours.jaccard`. "authors": the code they published, whose figures others inherit, counts k1
    without the row itself, and divides each row's squared distances by the row's largest one, in the weights of the
    neighbours too. (The copies in cluster contrast and its descendants square these distances once more.)

    Memory: the embeddings once more, (q + g) · k1 numbers, and one tile of so many queries (as many as 128 MiB take).

    Args:
        query: unit-norm rows.
        gallery: unit-norm rows.
        k1: neighbours to a row, with "paper" itself included; 1 <= k1 < q + g, with "authors" < q + g - 1.
        k2: rows to average the neighbours' weights over; 1 <= k2 <= k1.
        weight: share λ of the original distance, in [0, 1].
        like: how k1 is counted, and distances are measured.
        tile: queries to a tile.

    Yields:
        The queries' slice and their scores, for `metrics.evaluate`; every query once, in order.

    Raises:
        ValueError: no queries, no gallery, values out of range, rows that are not finite and unit-norm.
    """
    if not len(query) or not len(gallery):
        raise ValueError(
            f"re-ranking: got {len(query)} queries and {len(gallery)} gallery images; neither may be empty"
        )
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(f"re-ranking: queries have length {query.shape[1]}, the gallery {gallery.shape[1]}")
    if not 0 <= weight <= 1:
        raise ValueError(f"re-ranking: expected weight in [0, 1], got {weight}")
    most = len(query) + len(gallery) - (1 if like == "authors" else 0)
    if not 1 <= k1 < most:
        raise ValueError(f"re-ranking: expected 1 <= k1 < {most} (queries and gallery), got k1={k1}; lower k1")
    rows = tile if tile is not None else max(1, TILE_ENTRIES // len(gallery))
    if rows < 1:
        raise ValueError(f"re-ranking: expected at least one query to a tile, got tile={tile}")
    return _tiles(query, gallery, (k1, k2), np.float32(weight), like, rows)


def _tiles(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g d"],
    k: tuple[int, int],
    weight: np.float32,
    like: str,
    tile: int,
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows g"]]]:
    everything = np.concatenate([query, gallery]).astype(np.float32, copy=False)
    largest, more = np.ones(len(everything), np.float32), 0
    if like == "authors":
        largest, more = largest_distances(everything), 1
    similarities, indices = nearest(everything, k=k[0] + more)
    half = round(k[0] / 2) + 1
    weights = neighbour_weights(everything, indices, k2=k[1], similarities=similarities, half=half, largest=largest)
    listed = everything[len(query) :]
    lists, _ = inverted_lists(weights, first=len(query))
    for start in range(0, len(query), tile):
        rows = slice(start, min(start + tile, len(query)))
        scores = (everything[rows] * (-2 * weight)) @ listed.T
        scores += 2 * weight
        scores /= largest[rows, None]
        part = Rows(weights.indptr[rows.start : rows.stop + 1], weights.columns, weights.weights)

        def overlap(first: int, last: int, part: Rows = part, scores: Float32[np.ndarray, "rows g"] = scores) -> None:
            kernels.overlap_tile(part, lists, weight, first, last, scores)

        each_block(overlap, len(scores), size=16)
        yield rows, scores
