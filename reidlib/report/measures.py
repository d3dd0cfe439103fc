"""What retrieval says of the networks, where identities of queries and of the gallery are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Integer

from reidlib.calibration.calibration import read_calibration
from reidlib.images.identities import known_identities
from reidlib.images.split import Split, read_rows
from reidlib.report.titles import MODELS
from reidlib.report.verification import Verification, verification_report
from reidlib.retrieval.metrics import Retrieval, cosine_tiles, evaluate, ranked_list
from reidlib.retrieval.reranking import reranked_tiles
from reidlib.retrieval.tracklets import averages, groups_of, most_frequent
from reidlib.settings import Count, Share, arguments
from reidlib.tables import open_embeddings, require_same_images

Embeddings = Float32[np.ndarray, "n d"]
Numbers = Integer[np.ndarray, "_"]
RANKS = (1, 5, 10, 20)


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """Parameters of k-reciprocal re-ranking, see `reidlib.retrieval.reranking`."""

    k1: Count
    k2: Count
    weight: Share
    like: Literal["paper", "authors"] = "paper"


def read_embeddings(folder: Path, *, images: Mapping[str, pd.Series]) -> dict[str, dict[str, Embeddings]]:
    """Return the embeddings of each split by each network that was trained, and by the initial one; memory maps.

    A split's folder holds rows.parquet and <network>.npy; `images` are the ids of its images.

    Raises:
        ValueError: where a file is damaged, or of other images.
        FileNotFoundError: where one is missing.
    """
    for split, ids in images.items():
        require_same_images(read_rows(folder / split)["image"], ids, where=folder / split)
    networks = [name for name in MODELS if any((folder / split / f"{name}.npy").is_file() for split in images)]
    return {
        name: {split: open_embeddings(folder / split / f"{name}.npy", images=len(images[split])) for split in images}
        for name in networks
    }


@dataclass(frozen=True)
class RetrievalReport:
    """What retrieval says of each model; all empty where no query has a known identity.

    Attributes:
        results: metrics by model, with re-ranking as `<name>_reranked`, by tracklets as `<name>_tracklets`.
        identities: of the images of `query` and `gallery`; 0 = distractor, -1 = unknown, ignored.
        lists: ranked gallery rows of a few queries by the last model.
        verified: what its calibration is worth; empty without one.
    """

    results: Mapping[str, Retrieval] = field(default_factory=dict)
    identities: Mapping[str, Numbers] = field(default_factory=dict)
    lists: Mapping[int, Numbers] = field(default_factory=dict)
    verified: Verification = field(default_factory=Verification)

    def values(self) -> dict[str, float]:
        """Return `<name>_mAP`, `<name>_mINP`, `<name>_rank1`, ... of each model, in percent, and counts of queries."""
        values: dict[str, float] = {}
        for name, result in self.results.items():
            values |= {f"{name}_mAP": 100 * result.mAP, f"{name}_mINP": 100 * result.mINP}
            values |= {f"{name}_rank{rank}": 100 * float(result.cmc[min(rank, len(result.cmc)) - 1]) for rank in RANKS}
            of = "tracklet_" if name.endswith("_tracklets") else ""
            values |= {f"{of}queries": result.queries, f"ignored_{of}queries": result.ignored_queries}
        return values | self.verified.values()

    def cmc(self) -> pd.DataFrame:
        """Return rank and the CMC of each model as shares, up to the shortest curve (galleries may be tiny)."""
        ranks = min((len(result.cmc) for result in self.results.values()), default=0)
        curves = {name: result.cmc[:ranks] for name, result in self.results.items()}
        return pd.DataFrame({"rank": np.arange(1, ranks + 1), **curves})


def retrieval_report(
    query: Split,
    gallery: Split,
    identities: pd.DataFrame,
    networks: Mapping[str, Mapping[str, Embeddings]],
    *,
    reranking: dict[str, Any] | None,
    ranked_queries: Count,
    false_match_rate: Share = 0.01,
    calibration: Path | None = None,
    tracklets: bool = False,
) -> RetrievalReport:
    """Rank the gallery for every query with each model's embeddings: model -> split -> embeddings.

    Ranked lists are kept of the last model, of so many queries from the best found to the worst. `reranking` holds
    settings of `Reranking`, which is reported too where it is given; its k1 is lowered where images are fewer. A file
    with the `calibration` of the last model is measured at its threshold for `false_match_rate`. With `tracklets` each
    model is measured by one embedding of a tracklet, too, of queries and gallery (`reidlib.retrieval.tracklets`).

    In splits opened without camera labels matches on the query's own camera count, which is printed. Where nothing can
    match, that is printed and the report is empty.
    """
    known = {"query": known_identities(query.ids, identities), "gallery": known_identities(gallery.ids, identities)}
    if not all((numbers > 0).any() for numbers in known.values()):
        print("no query has a known identity: mAP, mINP, CMC and ranked lists cannot be known")
        return RetrievalReport()
    # without camera labels a query is on a camera of its own, so that no match is left out
    query_cameras = query.cameras if query.camera_labels else np.full(len(query), -1, np.int16)
    if not query.camera_labels:
        print("dataset.camera_labels=false: matches on the query's own camera count")
    among: dict[str, Any] = {"gallery_identities": known["gallery"], "gallery_cameras": gallery.cameras}
    facts: dict[str, Any] = {"query_identities": known["query"], "query_cameras": query_cameras, **among}
    if not can_match(**facts):
        print("no query has its person in the gallery on another camera: mAP, mINP and CMC cannot be known; if cameras")
        print("are not to be told apart: dataset.camera_labels=false")
        return RetrievalReport()
    results = {}
    for name, splits in networks.items():
        results[name] = evaluate(cosine_tiles(splits["query"], splits["gallery"]), **facts)
        if reranking is not None:
            settings = Reranking(**arguments(reranking, of=Reranking, where="evaluate.reranking"))
            results[f"{name}_reranked"] = evaluate(_rerank(splits, settings), **facts)
        if tracklets:
            results[f"{name}_tracklets"] = _by_tracklets({"query": query, "gallery": gallery}, splits, facts)
    lists = {}
    for row in choose_queries(results[name].average_precisions, count=ranked_queries):
        identity, camera = int(known["query"][row]), int(query_cameras[row])
        lists[row] = ranked_list(splits["query"][row], splits["gallery"], identity=identity, camera=camera, **among)
    verified = Verification()
    if calibration is not None:
        learnt = read_calibration(calibration)
        verified = verification_report(query, gallery, known, splits, learnt, false_match_rate=false_match_rate)
    return RetrievalReport(results, known, lists, verified)


def _by_tracklets(
    sides: Mapping[str, Split], embeddings: Mapping[str, Embeddings], facts: Mapping[str, Numbers]
) -> Retrieval:
    """Measure tracklets: their average embedding, most frequent identity, camera; images without one are alone.

    Raises:
        ValueError: neither queries nor gallery have any.
    """
    if not any((side.tracklets >= 0).any() for side in sides.values()):
        raise ValueError(
            "evaluate.tracklets: expected tracklets among queries or in the gallery, found none: set it to false; only "
            "dataset.reader=folder knows any (docs/own-footage.md)"
        )
    groups = {name: groups_of(side.tracklets) for name, side in sides.items()}
    query, gallery = (averages(embeddings[name], groups[name]) for name in ("query", "gallery"))
    shared: dict[str, Any] = {
        name: most_frequent(numbers, groups[name.partition("_")[0]]) for name, numbers in facts.items()
    }
    return evaluate(cosine_tiles(query, gallery), **shared)


def can_match(
    *, query_identities: Numbers, gallery_identities: Numbers, query_cameras: Numbers, gallery_cameras: Numbers
) -> bool:
    """Whether a query has a person who is in the gallery on another camera."""
    queries = pd.DataFrame({"identity": query_identities, "camera": query_cameras}).drop_duplicates()
    gallery = pd.DataFrame({"identity": gallery_identities, "camera": gallery_cameras}).drop_duplicates()
    pairs = queries[queries["identity"] > 0].merge(gallery, on="identity", suffixes=("", "_gallery"))
    return bool((pairs["camera"] != pairs["camera_gallery"]).any())


def _rerank(
    splits: Mapping[str, Embeddings], settings: Reranking
) -> Iterator[tuple[slice, Float32[np.ndarray, "_ n"]]]:
    others = len(splits["query"]) + len(splits["gallery"]) - 1
    k1 = min(settings.k1, others if settings.like == "paper" else others - 1)
    how: dict[str, Any] = {"k1": k1, "k2": min(settings.k2, k1), "weight": settings.weight, "like": settings.like}
    return reranked_tiles(splits["query"], splits["gallery"], **how)


def choose_queries(average_precisions: Float64[np.ndarray, "q"], *, count: int) -> list[int]:
    """Up to `count` query rows, evenly from the best average precision to the worst; ignored queries (NaN) never."""
    ordered = np.argsort(-average_precisions, kind="stable")[: int(np.isfinite(average_precisions).sum())]
    places = np.linspace(0, ordered.size - 1, min(count, ordered.size)).round().astype(np.int64)
    return [int(row) for row in ordered[places]]
