"""k-reciprocal re-ranking of a gallery [Zhong et al., CVPR 2017, arXiv:1701.08398], tile by tile."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from reidlib.neighbours import kernels
from reidlib.neighbours.blocks import row_blocks, run_blocks
from reidlib.neighbours.search import nearest
from reidlib.neighbours.weights import Rows, inverted_lists, neighbour_weights

TILE_ENTRIES = 1 << 25  # 128 MiB of scores at a time


def reranked_tiles(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g d"],
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    scaling: Literal["none", "farthest"] = "none",
    tile: int | None = None,
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows g"]]]:
    """Scores of the gallery for each query, higher = better: −((1 − weight) · Jaccard + weight · original distance).

    The Jaccard distance is that of `neighbours.jaccard` over queries and gallery together; the original distance is the
    squared Euclidean one, 2 − 2·q·g, as in the paper. The paper's text and the code its authors published differ in two
    details, which published figures inherit. (1) The code divides each row's squared distances by the row's largest one
    over queries and gallery, in the weights and in the original distance: `scaling="farthest"`, at the price of a
    second search (for the farthest rows). (2) The code counts k1 without the row itself: its k1=20 is k1=21 here, where
    k1 counts as in `neighbours.jaccard`.

    Memory: the embeddings once more, (q + g) · k1 numbers, and one tile.

    Args:
        query: unit-norm rows.
        gallery: unit-norm rows.
        k1: neighbours to a row, itself included; 1 <= k1 < q + g.
        k2: rows to average the neighbours' weights over; 1 <= k2 <= k1.
        weight: share λ of the original distance, in [0, 1].
        scaling: what squared distances are divided by: nothing, or each row's largest.
        tile: queries to a tile; by default as many as 128 MiB take.

    Yields:
        The queries' slice and their scores, for `metrics.evaluate_tiles`; every query once, in order.

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
    total = len(query) + len(gallery)
    if not 1 <= k1 < total:
        raise ValueError(f"re-ranking: expected 1 <= k1 < {total} (queries and gallery), got k1={k1}; lower k1")
    if scaling not in ("none", "farthest"):
        raise ValueError(f"re-ranking: expected scaling 'none' or 'farthest', got {scaling!r}")
    rows = tile if tile is not None else max(1, TILE_ENTRIES // len(gallery))
    if rows < 1:
        raise ValueError(f"re-ranking: expected at least one query to a tile, got tile={tile}")
    return _tiles(query, gallery, (k1, k2), weight, scaling == "farthest", rows)


def _tiles(
    query: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g d"],
    k: tuple[int, int],
    weight: float,
    scaled: bool,
    tile: int,
) -> Iterator[tuple[slice, Float32[np.ndarray, "rows g"]]]:
    everything = np.concatenate([query, gallery]).astype(np.float32, copy=False)
    similarities, indices = nearest(everything, k=k[0])
    scales = np.ones(len(everything), np.float32)
    if scaled:
        opposite, _ = nearest(everything, k=1, queries=-everything)
        scales = np.maximum(2 + 2 * opposite[:, 0], np.float32(1e-6))
    weights = neighbour_weights(everything, indices, k2=k[1], similarities=similarities, scales=scales)
    listed = everything[len(query) :]
    lists, _ = inverted_lists(weights, first=len(query))
    for start in range(0, len(query), tile):
        rows = slice(start, min(start + tile, len(query)))
        factors = (np.float32(2 * weight) / scales[rows])[:, None]
        scores = (everything[rows] * -factors) @ listed.T
        scores += factors
        own = Rows(weights.indptr[rows.start : rows.stop + 1], weights.columns, weights.weights)

        def overlap(first: int, last: int, own: Rows = own, scores: Float32[np.ndarray, "rows g"] = scores) -> None:
            kernels.overlap_tile(own, lists, np.float32(weight), first, last, scores)

        list(run_blocks(overlap, row_blocks(len(scores), size=16)))
        yield rows, scores
