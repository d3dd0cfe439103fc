"""What is said of the trained models: retrieval and label quality where identities are known, the rest without them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int32, Integer

from reidlib.features import Images, embed_together
from reidlib.images.table import known_identities, split_rows
from reidlib.labels.quality import label_measures, label_quality, silhouette
from reidlib.labels.tables import read_labels
from reidlib.models.embedder import load_embedders
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.retrieval.metrics import Retrieval, cosine_tiles, evaluate, ranked_list
from reidlib.retrieval.reranking import reranked_tiles

Embeddings = Float32[np.ndarray, "n d"]
Numbers = Integer[np.ndarray, "_"]
RANKS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Reranking:
    """Parameters of k-reciprocal re-ranking, see `reidlib.retrieval.reranking`."""

    k1: int
    k2: int
    weight: float


@dataclass(frozen=True)
class TrainedRun:
    """What a training stage left: last or kept labels, labels of every epoch, curves, and embeddings by split."""

    labels: Int32[np.ndarray, "n"]
    epochs: pd.DataFrame
    curves: pd.DataFrame
    embeddings: dict[str, Embeddings]


def read_runs(
    folders: Mapping[str, Path], curves: Path, *, images: pd.Series, crops: Mapping[str, Images], flip: bool
) -> dict[str, TrainedRun]:
    """Read the training stages that have trained an epoch, and embed every split with their network(s).

    A stage's folder holds model*.safetensors, labels.parquet and epochs.parquet; `curves` is the folder of its
    train_<name>.csv, with a row per epoch. `images` are the ids of the training images, `crops` the packed images by
    split; with `flip` the embeddings of an image and of its mirror image are averaged.

    Raises:
        ValueError: where a file is missing, damaged or of other images.
    """
    runs = {}
    for name, folder in folders.items():
        table = pd.read_csv(curves / f"train_{name}.csv")
        if len(table):
            models, labels = load_embedders(folder), read_labels(folder / "labels.parquet", images=images)
            embeddings = {split: embed_together(models, crops[split], flip=flip) for split in crops}
            runs[name] = TrainedRun(labels, pd.read_parquet(folder / "epochs.parquet"), table, embeddings)
    return runs


@dataclass(frozen=True)
class RetrievalReport:
    """What retrieval says of each model; all empty where no query has a known identity.

    Attributes:
        results: metrics by model, with re-ranking as `<name>_reranked`.
        facts: identities (0 = distractor, -1 = unknown, ignored) and cameras of `query` and `gallery`.
        lists: ranked gallery rows of a few queries by the last model.
    """

    results: Mapping[str, Retrieval] = field(default_factory=dict)
    facts: Mapping[str, tuple[Numbers, Numbers]] = field(default_factory=dict)
    lists: Mapping[int, Numbers] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Return `<name>_mAP`, `<name>_mINP`, `<name>_rank1`, ... of each model, in percent, and counts of queries."""
        values: dict[str, float] = {}
        for name, result in self.results.items():
            values |= {f"{name}_mAP": 100 * result.mAP, f"{name}_mINP": 100 * result.mINP}
            values |= {f"{name}_rank{rank}": 100 * float(result.cmc[min(rank, len(result.cmc)) - 1]) for rank in RANKS}
            values |= {"queries": result.queries, "ignored_queries": result.ignored_queries}
        return values

    def cmc(self) -> pd.DataFrame:
        """Return rank and the CMC of each model as shares, up to the shortest curve (galleries may be tiny)."""
        ranks = min((len(result.cmc) for result in self.results.values()), default=0)
        curves = {name: result.cmc[:ranks] for name, result in self.results.items()}
        return pd.DataFrame({"rank": np.arange(1, ranks + 1), **curves})


def retrieval_report(
    index: pd.DataFrame,
    identities: pd.DataFrame,
    embedded: Mapping[str, Mapping[str, Embeddings]],
    *,
    reranking: Reranking | None,
    ranked_queries: int,
) -> RetrievalReport:
    """Rank the gallery for every query with each model's embeddings.

    `embedded` is model name -> split -> embeddings. Ranked lists are kept of the last model, of queries spread from the
    best found to the worst. `reranking` is reported too where it is given; its k1 is lowered where images are fewer.
    """
    facts = {}
    for split in ("query", "gallery"):
        rows = split_rows(index, split)
        facts[split] = known_identities(rows["image"], identities), rows["camera"].to_numpy()
    if not all((numbers > 0).any() for numbers, _ in facts.values()):
        print("no query has a known identity: mAP, mINP, CMC and ranked lists cannot be known")
        return RetrievalReport()
    (query_identities, query_cameras), (gallery_identities, gallery_cameras) = facts["query"], facts["gallery"]
    gallery: dict[str, Any] = {"gallery_identities": gallery_identities, "gallery_cameras": gallery_cameras}
    named: dict[str, Any] = {"query_identities": query_identities, "query_cameras": query_cameras, **gallery}
    results = {}
    for name, splits in embedded.items():
        results[name] = evaluate(cosine_tiles(splits["query"], splits["gallery"]), **named)
        if reranking is not None:
            k1 = min(reranking.k1, len(splits["query"]) + len(splits["gallery"]) - 1)
            k2 = min(reranking.k2, k1)
            tiles = reranked_tiles(splits["query"], splits["gallery"], k1=k1, k2=k2, weight=reranking.weight)
            results[f"{name}_reranked"] = evaluate(tiles, **named)
    lists = {}
    for row in choose_queries(results[name].average_precisions, count=ranked_queries):
        identity, camera = int(query_identities[row]), int(query_cameras[row])
        lists[row] = ranked_list(splits["query"][row], splits["gallery"], identity=identity, camera=camera, **gallery)
    return RetrievalReport(results, facts, lists)


def choose_queries(average_precisions: Float64[np.ndarray, "q"], *, count: int) -> list[int]:
    """Up to `count` query rows, evenly from the best average precision to the worst; ignored queries (NaN) never."""
    ordered = np.argsort(-average_precisions, kind="stable")[: int(np.isfinite(average_precisions).sum())]
    places = np.linspace(0, ordered.size - 1, min(count, ordered.size)).round().astype(np.int64)
    return [int(row) for row in ordered[places]]


def unlabelled_values(
    name: str,
    embeddings: Embeddings,
    labels: Int32[np.ndarray, "n"],
    cameras: Integer[np.ndarray, "n"],
    *,
    k1: int,
    k2: int,
) -> dict[str, float]:
    """Return what can be said of final pseudo-labels without identities, as `<name>_clusters`, ...

    Clusters, share of outliers, share of clusters that span cameras (0..1), images per cluster, and the silhouette of
    the labels (-1..1) on the k-reciprocal Jaccard distance of the final embeddings; the silhouette is left out where
    there are fewer than two clusters. k1 is lowered where there are fewer images.
    """
    values = label_measures(labels, cameras)
    values["images_per_cluster"] = float((labels >= 0).sum() / max(values["clusters"], 1))
    if values["clusters"] > 1:
        k1 = min(k1, len(embeddings) - 1)
        values["silhouette"] = silhouette(jaccard_distance(embeddings, k1=k1, k2=min(k2, k1)), labels)
    return {f"{name}_{key}": value for key, value in values.items()}


def quality_tables(
    name: str,
    epochs: pd.DataFrame,
    identities: Int32[np.ndarray, "n"],
    cameras: Integer[np.ndarray, "n"],
) -> dict[str, pd.DataFrame]:
    """Return the quality of each epoch's labels against the identities, after training, as one table by its name.

    `epochs` holds epoch, row and label, as the training stages keep them; rows that an epoch does not hold count as
    outliers. Rows of unknown identity (-1) are left out; without any known one there is no table.

    Returns:
        Columns epoch (from 1), camera (-1 = all together; each on its own where there are several) and those of
        `reidlib.labels.quality.label_quality`. Local labels cannot join cameras: for them each camera's rows tell.
    """
    known = identities >= 0
    if not known.any():
        return {}
    numbers = np.unique(cameras[known]).tolist()
    parts = {-1: known} | ({number: known & (cameras == number) for number in numbers} if len(numbers) > 1 else {})
    rows = []
    for _, part in epochs.groupby("epoch"):
        epoch = int(part["epoch"].iloc[0]) + 1
        labels = np.full(len(identities), -1, np.int32)
        labels[part["row"].to_numpy()] = part["label"].to_numpy()
        for camera, chosen in parts.items():
            quality = label_quality(labels[chosen], identities[chosen])
            rows.append({"epoch": epoch, "camera": camera, **quality})
    return {f"label_quality_{name}": pd.DataFrame(rows)}


def label_report(
    runs: Mapping[str, TrainedRun],
    identities: Int32[np.ndarray, "n"],
    cameras: Integer[np.ndarray, "n"],
    *,
    k1: int,
    k2: int,
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Return what is said of the labels of training runs: values of the final ones, and tables with a row per epoch.

    The tables are those of `quality_tables` and, as `train_<name>`, the curves; the values are `unlabelled_values`.
    """
    values: dict[str, float] = {}
    tables: dict[str, pd.DataFrame] = {}
    for name, run in runs.items():
        values |= unlabelled_values(name, run.embeddings["train"], run.labels, cameras, k1=k1, k2=k2)
        tables |= quality_tables(name, run.epochs, identities, cameras) | {f"train_{name}": run.curves}
    return values, tables
