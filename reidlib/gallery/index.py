"""faiss's approximate indexes of a gallery: candidates by vectors of four bits a number, which the caller scores anew.

HNSW answers faster at a recall of .99, IVF is built in a fifth of the time (`benchmarks.gallery`). An index holds no
vectors, so that it takes an eighth of their size (HNSW a fifth), and knows its recall: it is measured
when it is built, and the search is widened until the wished recall is reached.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64
from pydantic import ConfigDict

from reidlib.files import atomic_file
from reidlib.progress import progress
from reidlib.settings import Count, Share

INDEX_FILE = "index.faiss"
Kind = Literal["hnsw", "ivf"]
NEIGHBOURS = 10  # at which recall is measured
QUERIES = 200  # on which
WIDER = 10  # candidates to each wanted row, since four bits order them roughly
HNSW_LINKS, BUILD_EFFORT = 16, 160  # about a millisecond of a core to build in, for each row
SAMPLES = 40  # rows to train each list of IVF on
BLOCK = 1 << 16
Candidates = Callable[[Float32[np.ndarray, "d"], int], Int64[np.ndarray, "_"]]
"""candidates(query, count): rows of that many vectors that may be the nearest, in no order."""


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """What is known of an index.

    Attributes:
        kind: of faiss.
        rows: how many it holds, the gallery's first.
        effort: lists of IVF that are searched, or HNSW's efSearch.
        recall: share of the ten nearest rows that it finds, measured on rows of the gallery.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Kind
    rows: Count
    effort: Count
    recall: Share


@dataclass(frozen=True)
class Index:
    """An index in memory."""

    library: Any
    facts: IndexFacts

    def candidates(
        self, query: Float32[np.ndarray, "d"], count: int, *, chosen: Bool[np.ndarray, "n"] | None = None
    ) -> Int64[np.ndarray, "_"]:
        """Return the rows of about so many vectors that may be the nearest, in no order.

        Args:
            query: unit-norm.
            count: how many.
            chosen: the rows to search among; all without.
        """
        faiss = _faiss()
        bits = None if chosen is None else np.packbits(chosen[: self.facts.rows], bitorder="little")
        limits = {} if bits is None else {"sel": faiss.IDSelectorBitmap(bits)}
        if self.facts.kind == "ivf":
            how = faiss.SearchParametersIVF(nprobe=self.facts.effort, **limits)
        else:
            how = faiss.SearchParametersHNSW(efSearch=max(self.facts.effort, count), **limits)
        _, rows = self.library.search(query[None], min(count, self.facts.rows), params=how)
        return rows[0][rows[0] >= 0].astype(np.int64)


def open_index(path: Path, facts: IndexFacts) -> Index:
    """Read the index that `build_index` wrote.

    Raises:
        ValueError: where it is not there, damaged, or of other rows.
    """
    faiss = _faiss()
    mend = "build it anew: reidlib index --index hnsw (or ivf, exact)"
    try:
        library = faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2][:200]
        raise ValueError(f"{path}: missing, cut short or damaged ({reason}); {mend}") from error
    if library.ntotal != facts.rows:
        raise ValueError(f"{path}: expected an index of {facts.rows:,} vectors, found {library.ntotal:,}; {mend}")
    return Index(library, facts)


def build_index(
    vectors: Float32[np.ndarray, "n d"],
    path: Path,
    *,
    kind: Kind,
    recall: Share = 0.99,
    lists: int | None = None,
    truth: Callable[[Float32[np.ndarray, "q d"], int], Sequence[Int64[np.ndarray, "_"]]],
) -> IndexFacts:
    """Build an index of all vectors, write it, and return what it reaches.

    Args:
        vectors: unit-norm rows, read block by block.
        path: the file to write.
        kind: of faiss.
        recall: what is wished for; the search is widened until it is reached, or the widest is.
        lists: of IVF; 4 √n without, or as many as there are rows to train.
        truth: the exact search: rows of the nearest vectors of each query, nearest first.
    """
    faiss = _faiss()
    lists = lists or max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // SAMPLES))
    library = _ivf(vectors, lists) if kind == "ivf" else _hnsw(vectors.shape[1])
    for start in progress(range(0, len(vectors), BLOCK), "indexing"):
        block = np.asarray(vectors[start : start + BLOCK])
        if kind == "hnsw" and start == 0:
            library.train(block)
        library.add(block)
    asked = np.sort(np.random.default_rng(0).permutation(len(vectors))[:QUERIES])
    nearest = truth(np.asarray(vectors[asked]), min(NEIGHBOURS + 1, len(vectors)))
    effort, widest = (8, lists) if kind == "ivf" else (WIDER * (NEIGHBOURS + 1), 2048)
    while True:
        facts = IndexFacts(kind=kind, rows=len(vectors), effort=min(effort, widest), recall=0.0)
        found = _recall(Index(library, facts), vectors, asked, nearest)
        if found >= recall or effort >= widest:
            break
        effort = effort * 3 // 2
    with atomic_file(path) as temporary:
        faiss.write_index(library, str(temporary))
    return IndexFacts(**vars(facts) | {"recall": found})


def rescored(
    vectors: Float32[np.ndarray, "n d"], query: Float32[np.ndarray, "d"], rows: Int64[np.ndarray, "c"]
) -> Float32[np.ndarray, "c"]:
    """Return the exact inner products of some rows (ascending, so that a disk reads them in order) with a query."""
    return vectors[rows] @ query


def _faiss() -> Any:
    """The library, imported for a gallery that has an index; without its types, which lack some of it."""
    import faiss

    return faiss


def _ivf(vectors: Float32[np.ndarray, "n d"], lists: int) -> Any:
    faiss = _faiss()
    dimension = vectors.shape[1]
    library = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension), dimension, lists, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT
    )
    rows = np.random.default_rng(0).permutation(len(vectors))[: SAMPLES * lists]
    library.train(np.asarray(vectors[np.sort(rows)]))
    return library


def _hnsw(dimension: int) -> Any:
    faiss = _faiss()
    four_bits = faiss.ScalarQuantizer.QT_4bit
    library = faiss.IndexHNSWSQ(dimension, four_bits, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    library.hnsw.efConstruction = BUILD_EFFORT
    return library


def _recall(
    index: Index,
    vectors: Float32[np.ndarray, "n d"],
    asked: Int64[np.ndarray, "q"],
    nearest: Sequence[Int64[np.ndarray, "_"]],
) -> float:
    """Return the share of each asked row's nearest others that are among the best of its candidates."""
    found = wanted = 0
    for row, best in zip(asked, nearest, strict=True):
        query = np.asarray(vectors[row])
        others = set(best.tolist()) - {int(row)}
        rows = np.sort(index.candidates(query, WIDER * (NEIGHBOURS + 1)))
        scores = rescored(vectors, query, rows)
        top = rows[np.lexsort((rows, -scores))[: len(others) + 1]]
        found += len(others & set(top.tolist()))
        wanted += len(others)
    return found / wanted if wanted else 1.0
