"""What is said of the labels of trained networks: their quality where identities are known, the rest without them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32, Integer

from reidlib.images.identities import known_identities
from reidlib.labels.pseudo_labels import read_labels
from reidlib.labels.quality import label_measures, label_quality, silhouette
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.settings import Count

Embeddings = Float32[np.ndarray, "n d"]
Numbers = Integer[np.ndarray, "n"]


@dataclass(frozen=True)
class TrainedRun:
    """What a training stage left: last or kept labels, labels of every epoch, curves, embeddings of its images."""

    labels: Int32[np.ndarray, "n"]
    epochs: pd.DataFrame
    curves: pd.DataFrame
    embeddings: Embeddings


def read_runs(
    folders: Mapping[str, Path], curves: Path, *, images: pd.Series, networks: Mapping[str, Mapping[str, Embeddings]]
) -> dict[str, TrainedRun]:
    """Read what the training stages left of the networks that were trained.

    Those are the ones with embeddings in `networks` (network -> split -> embeddings). A stage's folder holds
    labels.parquet and epochs.parquet, `curves` a train_<name>.csv with a row per epoch.

    Raises:
        ValueError: where a file is damaged or of other images.
        FileNotFoundError: where one is missing.
    """
    return {
        name: TrainedRun(
            labels=read_labels(folder / "labels.parquet", images=images),
            epochs=pd.read_parquet(folder / "epochs.parquet"),
            curves=pd.read_csv(curves / f"train_{name}.csv"),
            embeddings=networks[name]["train"],
        )
        for name, folder in folders.items()
        if name in networks
    }


def unlabelled_values(
    embeddings: Embeddings, labels: Int32[np.ndarray, "n"], cameras: Numbers, *, k1: int, k2: int
) -> dict[str, float]:
    """Return what can be said of final pseudo-labels without identities.

    Clusters, share of outliers, share of clusters that span cameras (0..1), images per cluster, and the silhouette of
    the labels (-1..1) on the k-reciprocal Jaccard distance of the final embeddings; the silhouette is left out where
    there are fewer than two clusters. k1 is lowered where there are fewer images.
    """
    values = label_measures(labels, cameras)
    values["images_per_cluster"] = float((labels >= 0).sum() / max(values["clusters"], 1))
    if values["clusters"] > 1:
        k1 = min(k1, len(embeddings) - 1)
        values["silhouette"] = silhouette(jaccard_distance(embeddings, k1=k1, k2=min(k2, k1)), labels)
    return values


def quality_table(epochs: pd.DataFrame, identities: Int32[np.ndarray, "n"], cameras: Numbers) -> pd.DataFrame:
    """Return the quality of each epoch's labels against the identities, after training.

    `epochs` holds epoch, row and label, as the training stages keep them; rows that an epoch does not hold count as
    outliers. Rows of unknown identity (-1) and distractors (0) are left out; without any person the table is empty.

    Returns:
        Columns epoch (from 1), camera (-1 = all together; each on its own where there are several) and those of
        `reidlib.labels.quality.label_quality`. Local labels cannot join cameras: for them each camera's rows tell.
    """
    known = identities > 0
    numbers = np.unique(cameras[known]).tolist()
    parts = {-1: known} | ({number: known & (cameras == number) for number in numbers} if len(numbers) > 1 else {})
    rows = []
    for _, part in epochs.groupby("epoch") if known.any() else ():
        labels = np.full(len(identities), -1, np.int32)
        labels[part["row"].to_numpy()] = part["label"].to_numpy()
        for camera, chosen in parts.items():
            quality = label_quality(labels[chosen], identities[chosen])
            rows.append({"epoch": int(part["epoch"].iloc[0]) + 1, "camera": camera, **quality})
    return pd.DataFrame(rows)


def final_quality(
    labels: Int32[np.ndarray, "n"], identities: Int32[np.ndarray, "n"], cameras: Numbers
) -> dict[str, float]:
    """Return the quality of final labels against the identities (`label_quality`), 0..1; empty without a known person.

    Where no cluster spans cameras, as labels made camera by camera, somebody on two cameras counts as two people.
    """
    known = identities > 0
    if not known.any():
        return {}
    people = identities.astype(np.int64)
    if label_measures(labels, cameras)["camera_span"] == 0:
        people = people * (int(cameras.max()) + 1) + cameras
    quality = label_quality(labels[known], np.unique(people[known], return_inverse=True)[1].astype(np.int32))
    return {name: value for name, value in quality.items() if name not in ("clusters", "outlier_share")}


def label_report(
    runs: Mapping[str, TrainedRun], rows: pd.DataFrame, identities: pd.DataFrame, *, camera_labels: bool, k1: Count,
    k2: Count,
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:  # fmt: skip
    """Return what is said of the labels of training runs: values of the final ones, and tables with a row per epoch.

    `rows` are those of the training images, as `reidlib.images.split.read_rows` reads them; without camera labels they
    are all on camera 0. The values are `unlabelled_values` and, where an identity is known, `final_quality`, as
    <name>_<value>; the tables are `quality_table` as label_quality_<name>, where an identity is known, and the curves
    as train_<name>.
    """
    cameras = rows["camera"].to_numpy() if camera_labels else np.zeros(len(rows), np.int16)
    known = known_identities(rows["image"], identities)
    values: dict[str, float] = {}
    tables: dict[str, pd.DataFrame] = {}
    for name, run in runs.items():
        measured = unlabelled_values(run.embeddings, run.labels, cameras, k1=k1, k2=k2)
        measured |= final_quality(run.labels, known, cameras)
        values |= {f"{name}_{key}": value for key, value in measured.items()}
        quality = quality_table(run.epochs, known, cameras)
        tables |= ({f"label_quality_{name}": quality} if len(quality) else {}) | {f"train_{name}": run.curves}
    return values, tables
