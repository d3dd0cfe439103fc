"""Retrieval metrics of re-identification: mAP, mINP and CMC, tile by tile, without sorting a row.

For each query, gallery items of its identity on its own camera, and junk (identity -1), are ignored; distractors
(identity 0) never match; queries without a match are ignored and counted. Ties are ranked by gallery order. The values
are those of a stable sort of each row, to the last bit: ranks are whole numbers, the rest is summed in float64.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int64

from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.rows import unit_rows
from reidlib.progress import progress
from reidlib.retrieval.kernels import score_queries

TILE_BYTES = 128 * 2**20  # scores held at a time; a tile of fewer rows would read the gallery too often
QUERIES = 16  # scored at a time by one thread


@dataclass(frozen=True)
class Retrieval:
    """Metrics over the queries that have a match, as shares (0..1).

    `cmc[r - 1]` is the share found by rank r; `average_precisions` has one value per query, NaN for the ignored ones.
    """

    mAP: float  # noqa: N815 - the name of the field
    mINP: float  # noqa: N815
    cmc: Float64[np.ndarray, "r"]
    queries: int
    ignored_queries: int
    average_precisions: Float64[np.ndarray, "q"]


def cosine_tiles(
    query: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "n d"]
) -> Iterator[tuple[slice, Float32[np.ndarray, "_ n"]]]:
    """Cosines of tiles of queries with the whole gallery, for ``evaluate``.

    A tile is all that is held beside the embeddings (and a float32 copy of them where they come in another type or
    order); the next one takes its place.

    Raises:
        ValueError: rows that are not unit-norm (NaN and zero rows included), empty inputs.
    """
    for name, rows in (("query", query), ("gallery", gallery)):
        if len(rows) == 0:
            raise ValueError(f"evaluate: expected at least one {name} embedding, found none")
    return _products(unit_rows(query, "evaluate: query embeddings"), unit_rows(gallery, "evaluate: gallery embeddings"))


def evaluate(
    tiles: Iterable[tuple[slice, Float32[np.ndarray, "_ n"]]],
    *,
    query_identities: Int[np.ndarray, "q"],
    gallery_identities: Int[np.ndarray, "n"],
    query_cameras: Int[np.ndarray, "q"],
    gallery_cameras: Int[np.ndarray, "n"],
    max_rank: int = 50,
) -> Retrieval:
    """Metrics of given scores, of ``cosine_tiles`` or of ``reranking.reranked_tiles``.

    Average precision is the mean over the positives of (positives so far / rank) [Zheng et al., ICCV 2015]; the inverse
    negative penalty is (positives / rank of the last positive) [Ye et al., TPAMI 2021, arXiv:2001.04193].

    >>> import numpy as np
    >>> scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]], dtype=np.float32)  # ranks: ignored, 1, 2, 3, 4
    >>> result = evaluate(
    ...     [(slice(0, 1), scores)],
    ...     query_identities=np.array([7]),
    ...     query_cameras=np.array([0]),
    ...     gallery_identities=np.array([7, 3, 7, 0, 7]),
    ...     gallery_cameras=np.array([0, 1, 1, 1, 2]),
    ...     max_rank=3,
    ... )
    >>> result.mAP, result.mINP  # (1/2 + 2/4) / 2 and 2/4
    (0.5, 0.5)
    >>> result.cmc.tolist()
    [0.0, 1.0, 1.0]

    Args:
        tiles: a slice of queries and its scores, higher is better, each; in any order of slices.
        query_identities: above 0; 0 and -1 match nothing.
        gallery_identities: above 0; 0 = distractor, never a match; -1 = junk, ignored.
        query_cameras: any numbers.
        gallery_cameras: the same numbers.
        max_rank: length of the CMC curve.

    Raises:
        ValueError: NaN scores, a tile of another shape or type, queries missing or scored twice, lengths that do not
            agree, identities below -1, or no query with a match.
    """
    _check_numbers("query", query_identities, query_cameras)
    _check_numbers("gallery", gallery_identities, gallery_cameras)
    if max_rank < 1:
        raise ValueError(f"evaluate: expected max_rank of at least 1, found {max_rank}")
    kept = np.flatnonzero(gallery_identities >= 0)
    members = np.argsort(gallery_identities[kept], kind="stable")  # grouped by identity
    ordered = gallery_identities[kept][members]
    first, last = (np.searchsorted(ordered, query_identities, side=side) for side in ("left", "right"))
    last = np.where(query_identities > 0, last, first)  # where each query's group ends: empty at 0 and below
    kept_cameras = gallery_cameras[kept].astype(np.int64)
    values = np.zeros((query_identities.size, 3))
    seen = np.zeros(query_identities.size, np.int64)
    for part, tile in tiles:
        rows = seen[part].size
        if tile.shape != (rows, gallery_identities.size) or tile.dtype != np.float32:
            expected = f"float32 scores of shape {(rows, gallery_identities.size)}"
            raise ValueError(f"evaluate: expected {expected} for queries {part}, found {tile.dtype} of {tile.shape}")
        scores = tile if kept.size == gallery_identities.size else np.take(tile, kept, axis=1)
        values[part] = _score_tile(
            np.require(scores, requirements=["C", "W"]),
            members,
            first[part],
            last[part],
            query_cameras[part].astype(np.int64),
            kept_cameras,
        )
        seen[part] += 1
    if np.any(seen != 1):
        row = int(np.argmax(seen != 1))
        raise ValueError(
            f"evaluate: expected scores once for every query, found them {seen[row]} times for query {row}"
        )
    return _summary(values, max_rank=max_rank)


def _score_tile(scores: Float32[np.ndarray, "rows n"], *facts: Int[np.ndarray, "_"]) -> Float64[np.ndarray, "rows 3"]:
    """The three values of each query of a tile, as `kernels.score_queries` describes them and takes the facts."""
    result = np.zeros((len(scores), 3))
    each_block(lambda start, stop: score_queries(scores, *facts, start, stop, result), len(scores), size=QUERIES)
    return result


def ranked_list(
    query: Float[np.ndarray, "d"],
    gallery: Float[np.ndarray, "n d"],
    *,
    identity: int,
    camera: int,
    gallery_identities: Int[np.ndarray, "n"],
    gallery_cameras: Int[np.ndarray, "n"],
    count: int = 10,
) -> Int64[np.ndarray, "k"]:
    """The best `count` gallery rows of one query by the rules of `evaluate`, best first; fewer where fewer are kept."""
    _check_numbers("gallery", gallery_identities, gallery_cameras)
    ignored = (gallery_identities < 0) | (
        (gallery_identities == identity) & (gallery_cameras == camera) & (identity > 0)
    )
    kept = np.flatnonzero(~ignored)
    scores = (gallery @ query)[kept]
    if np.isnan(scores).any():
        raise ValueError("ranked_list: expected finite embeddings, found NaN scores; look for NaN in query and gallery")
    return kept[np.argsort(-scores, kind="stable")[:count]].astype(np.int64)


def _products(
    query: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "n d"]
) -> Iterator[tuple[slice, Float32[np.ndarray, "_ n"]]]:
    """Products of tiles of queries with the whole gallery, all in one buffer."""
    rows = min(len(query), max(1, TILE_BYTES // (4 * len(gallery))))
    buffer = np.empty((rows, len(gallery)), np.float32)
    starts = range(0, len(query), rows)
    for start in progress(starts, "evaluating"):
        part = slice(start, min(start + rows, len(query)))
        yield part, np.matmul(query[part], gallery.T, out=buffer[: part.stop - part.start])


def _check_numbers(name: str, identities: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "m"]) -> None:
    if identities.size == 0 or identities.size != cameras.size:
        raise ValueError(
            f"evaluate: expected as many {name} identities as cameras and at least one, "
            f"found {identities.size} identities and {cameras.size} cameras"
        )
    if identities.min() < -1:
        raise ValueError(
            f"evaluate: expected {name} identities of at least -1 (-1 = junk, 0 = distractor), found {identities.min()}"
        )


def _summary(values: Float64[np.ndarray, "q 3"], *, max_rank: int) -> Retrieval:
    """Means over the queries that have a match."""
    wrong = np.isnan(values[:, 0])
    if wrong.any():
        raise ValueError(
            f"evaluate: expected scores without NaN, found NaN for {int(wrong.sum())} queries, the first is query "
            f"{int(np.argmax(wrong))}"
        )
    matched = values[values[:, 2] > 0]
    if len(matched) == 0:
        raise ValueError(
            f"evaluate: expected a query with a match on another camera, found none among {len(values)} queries; "
            "look at the identities and cameras of queries and gallery"
        )
    firsts = np.bincount(np.minimum(matched[:, 2], max_rank + 1).astype(np.int64), minlength=max_rank + 2)
    return Retrieval(
        mAP=float(np.mean(matched[:, 0])),
        mINP=float(np.mean(matched[:, 1])),
        cmc=np.cumsum(firsts[1 : max_rank + 1]) / len(matched),
        queries=len(matched),
        ignored_queries=len(values) - len(matched),
        average_precisions=np.where(values[:, 2] > 0, values[:, 0], np.nan),
    )
