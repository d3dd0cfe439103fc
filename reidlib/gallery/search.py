"""The nearest rows of a gallery: exactly, or among an index's candidates; some rows only, one answer to a group."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from reidlib.gallery.index import WIDER, Index, rescored
from reidlib.gallery.kernels import products
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.rows import read_only
from reidlib.progress import progress

TILE_ENTRIES = 1 << 25  # scores at a time, 128 MiB
KERNEL_ROWS = 1 << 15  # to a thread at a time
EXACT_UP_TO = 100_000  # rows, which are read in some milliseconds


class Nearest(NamedTuple):
    """The answers to one query, nearest first; ties by lower row."""

    similarities: Float32[np.ndarray, "_"]
    rows: Int64[np.ndarray, "_"]


@dataclass(frozen=True)
class Among:
    """What answers are taken from.

    Attributes:
        chosen: the rows that may be answers; all where None.
        groups: a number for each row; of one number only the nearest row is an answer. None: every row is.
        index: searched where there are more rows than `EXACT_UP_TO`; None: exact always.
    """

    chosen: Bool[np.ndarray, "n"] | None = None
    groups: Int64[np.ndarray, "n"] | None = None
    index: Index | None = None


EVERYTHING = Among()


def nearest_rows(
    vectors: Float32[np.ndarray, "n d"],
    queries: Float32[np.ndarray, "q d"],
    *,
    k: int,
    among: Among = EVERYTHING,
    own: Int64[np.ndarray, "q"] | None = None,
) -> list[Nearest]:
    """Return the at most k rows with the largest inner product with each query.

    Args:
        vectors: unit-norm rows; may be a memory map.
        queries: unit-norm rows.
        k: answers to each.
        among: which rows are searched, and how.
        own: the row that each query is itself: it and its group are no answers.
    """
    spare = 0 if own is None else 1
    count = len(vectors) if among.chosen is None else int(among.chosen.sum())
    if among.index is not None and count > EXACT_UP_TO:
        answers = [_by_index(vectors, query, k + spare, among) for query in progress(queries, "searching")]
    else:
        answers = [
            best(scores, rows, k=k + spare, groups=among.groups)
            for scores, rows in progress(_exact(vectors, queries, among.chosen), "searching", total=len(queries))
        ]
    if own is None:
        return answers
    return [_without(answer, row, k, among.groups) for answer, row in zip(answers, own, strict=True)]


def best(
    scores: Float32[np.ndarray, "c"],
    rows: Int64[np.ndarray, "c"],
    *,
    k: int,
    groups: Int64[np.ndarray, "n"] | None = None,
) -> Nearest:
    """Return the k rows of the largest scores, one of each group, nearest first; ties by lower row."""
    wanted = min(k if groups is None else 4 * k, len(scores))
    while True:
        least = -np.inf if wanted == len(scores) else np.partition(scores, -wanted)[-wanted]
        places = np.flatnonzero(scores >= least)
        places = places[np.lexsort((rows[places], -scores[places]))]
        if groups is not None:
            _, first = np.unique(groups[rows[places]], return_index=True)
            places = places[np.sort(first)]
        if len(places) >= k or wanted == len(scores):
            return Nearest(scores[places[:k]], rows[places[:k]])
        wanted = min(4 * wanted, len(scores))


def inner_products(vectors: Float32[np.ndarray, "n d"], query: Float32[np.ndarray, "d"]) -> Float32[np.ndarray, "n"]:
    """Return the inner product of each row with a query, at the speed at which memory is read."""
    rows, vector, out = read_only(vectors), read_only(query[None])[0], np.empty(len(vectors), np.float32)
    each_block(lambda start, stop: products(rows, vector, start, stop, out), len(rows), size=KERNEL_ROWS)
    return out


def _exact(
    vectors: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"], chosen: Bool[np.ndarray, "n"] | None
) -> Iterator[tuple[Float32[np.ndarray, "c"], Int64[np.ndarray, "c"]]]:
    """Yield the inner products of each query with the chosen rows, and these rows."""
    rows = np.arange(len(vectors)) if chosen is None else np.flatnonzero(chosen)
    picked = None
    if 4 * len(rows) < len(vectors):
        vectors = vectors[rows]
    elif len(rows) < len(vectors):
        picked = rows
    tile = max(1, TILE_ENTRIES // max(1, len(vectors)))
    for start in range(0, len(queries), tile):
        block = queries[start : start + tile]
        scores = inner_products(vectors, block[0])[None] if len(block) == 1 else block @ vectors.T
        for each in scores:
            yield (each if picked is None else each[picked]), rows


def _by_index(vectors: Float32[np.ndarray, "n d"], query: Float32[np.ndarray, "d"], k: int, among: Among) -> Nearest:
    """Return the best of the index's candidates and of all rows that it does not hold yet."""
    index = among.index
    assert index is not None
    held = index.facts.rows
    later = np.arange(held, len(vectors)) if among.chosen is None else held + np.flatnonzero(among.chosen[held:])
    later_scores = inner_products(vectors[held:], query)[later - held]
    count = WIDER * k
    while True:
        rows = np.sort(index.candidates(query, count, chosen=among.chosen))
        scores = np.concatenate([rescored(vectors, query, rows), later_scores])
        found = best(scores, np.concatenate([rows, later]), k=k, groups=among.groups)
        if len(found.rows) == k or count >= held:
            return found
        count = min(4 * count, held)


def _without(answer: Nearest, row: np.int64, k: int, groups: Int64[np.ndarray, "n"] | None) -> Nearest:
    other = answer.rows != row if groups is None else groups[answer.rows] != groups[row]
    return Nearest(answer.similarities[other][:k], answer.rows[other][:k])
