"""Which images a page holds where it cannot hold all: some of every cluster, and all that it speaks of."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32, Int64

TRAIN_SHARE = 0.6  # of the pictures, where neither training images nor the others fit
QUERY_SHARE = 0.3  # of what is left for queries and gallery
Rows = Int64[np.ndarray, "_"]


def choose_images(
    labels: Int32[np.ndarray, "n"], counts: Mapping[str, int], spoken_of: Mapping[str, Sequence[int]], *, most: int
) -> dict[str, Rows]:
    """Return rows of each split, ascending, together at most `most` (or as many as are spoken of).

    Where not all fit, the training images are taken cluster by cluster in turns, so that every cluster has some, the
    outliers last; queries and gallery from the first, which are any, since images are ordered by a hash.

    Args:
        labels: of the training images.
        counts: images of `train`, `query` and `gallery`.
        spoken_of: rows of each that are taken in any case.
        most: images together.
    """
    others = counts["query"] + counts["gallery"]
    train = min(counts["train"], max(int(most * TRAIN_SHARE), most - others))
    query = min(counts["query"], max(int((most - train) * QUERY_SHARE), most - train - counts["gallery"]))
    wanted = {"train": train, "query": query, "gallery": min(counts["gallery"], most - train - query)}
    order = {name: np.arange(count) for name, count in counts.items()} | {"train": _in_turns(labels)}
    chosen = {}
    for name, number in wanted.items():
        first = np.unique(np.asarray(spoken_of.get(name, ()), np.int64))
        rest = order[name][~np.isin(order[name], first)]
        chosen[name] = np.sort(np.concatenate([first, rest[: max(number - len(first), 0)]])).astype(np.int64)
    return chosen


def _in_turns(labels: Int32[np.ndarray, "n"]) -> Rows:
    """Order rows so that the first of every cluster comes before the second of any; outliers at the end."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-2))
    turn = np.empty(len(labels), np.int64)
    turn[order] = np.arange(len(labels)) - np.repeat(starts, np.diff(np.append(starts, len(labels))))
    return np.lexsort((np.arange(len(labels)), turn, labels < 0)).astype(np.int64)
