"""The stage evaluate: from arrays to metrics, tables and pictures, with identities and without, and no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from reidlib.calibration.calibration import Calibration, Curve, write_calibration
from reidlib.images.identities import write_identities
from reidlib.images.names import write_names
from reidlib.images.split import SPLITS, write_rows
from reidlib.labels.numbering import number_clusters
from reidlib.labels.pseudo_labels import write_labels
from reidlib.tables import write_array

ROOT = Path(__file__).parents[2]
PEOPLE = 6
OPTIONS = {
    "embeddings": "embeddings",
    "identities": "identities.parquet",
    "query": "images/query",
    "gallery": "images/gallery",
    "calibration": "calibration.json",
    "intra": "intra",
    "inter": "inter",
    "curves": "metrics",
    "names": "names.parquet",
    "report": "metrics/evaluate",
    "clusters": "clusters",
    "metrics": "metrics/evaluate.json",
}


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Two images of each person in each split, on two cameras; embeddings of a bad network and a perfect one."""
    generator, identities, names = np.random.default_rng(0), [], []
    for start, split in zip((0, 100, 200), SPLITS, strict=True):
        images = [f"{start + number:016x}" for number in range(2 * PEOPLE)]
        people = np.tile(np.arange(1, PEOPLE + 1, dtype=np.int32), 2)
        rows = pd.DataFrame({"image": images, "camera": [0] * PEOPLE + [1] * PEOPLE, "tracklet": -1, "frame": -1})
        for folder in ("embeddings", "images"):
            write_rows(tmp_path / folder / split, rows)
        pixels = generator.integers(0, 256, (len(images), 8, 4, 3), dtype=np.uint8)
        write_array(tmp_path / "images" / split / "pixels.npy", pixels)
        noise = generator.normal(size=(len(images), PEOPLE)).astype(np.float32)
        initial = noise / np.linalg.norm(noise, axis=1, keepdims=True)
        write_array(tmp_path / "embeddings" / split / "initial.npy", initial)
        write_array(tmp_path / "embeddings" / split / "inter.npy", np.eye(PEOPLE, dtype=np.float32)[people - 1])
        identities.append(pd.DataFrame({"image": images, "identity": people, "name": images}))
        cameras = ["door"] * PEOPLE + ["yard"] * PEOPLE
        paths = [f"{split}/{camera}/t/{row}.jpg" for row, camera in enumerate(cameras)]
        names.append(pd.DataFrame({"image": images, "path": paths, "camera": cameras, "tracklet": "t"}))
        if split == "train":
            write_labels(tmp_path / "inter" / "labels.parquet", images=pd.Series(images), labels=people - 1)
    epochs = pd.DataFrame({"epoch": 0, "row": range(2 * PEOPLE), "label": np.tile(np.arange(PEOPLE), 2)})
    epochs.to_parquet(tmp_path / "inter" / "epochs.parquet")
    values = {"slope": 20.0, "offset": -10.0, "false_match_rates": (0.1,), "thresholds": (0.5,)}
    curve = Curve(**values, pairs=100, strangers=100)
    known = Calibration(prior=0.1, source="strangers", pooled=curve)
    write_calibration(tmp_path / "calibration.json", known)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "train_intra.csv").write_text("epoch,loss\n")
    (tmp_path / "metrics" / "train_inter.csv").write_text("epoch,loss\n1,2.5\n")
    write_identities(tmp_path / "identities.parquet", pd.concat(identities, ignore_index=True))
    write_names(tmp_path / "names.parquet", pd.concat(names, ignore_index=True))
    params = {
        "dataset": {"camera_labels": True},
        "refine": {"k1": 4, "k2": 2},
        "evaluate": {"reranking": {"k1": 5, "k2": 2, "weight": 0.3}, "ranked_queries": 2, "false_match_rate": 0.1},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def run(folder: Path, *python: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "-m", "stages.evaluate", *(f"--{key}={path}" for key, path in OPTIONS.items())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_arrays_are_measured_and_no_network_is_loaded(dataset):
    done = run(dataset, "-X", "importtime")
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "matplotlib.figure" in loaded and not loaded & {"torch", "timm", "torchvision"}
    metrics = json.loads((dataset / "metrics" / "evaluate.json").read_text())
    assert metrics["queries"] == 2 * PEOPLE and metrics["inter_mAP"] == metrics["inter_rank1"] == 100
    assert metrics["initial_mAP"] < 100 and {"initial_reranked_mAP", "inter_reranked_mAP"} <= set(metrics)
    assert metrics["inter_clusters"] == PEOPLE and metrics["inter_camera_span"] == 1
    assert metrics["inter_pairwise_f"] == metrics["inter_nmi"] == metrics["inter_expansion"] == 1
    assert not any(name.startswith("intra") for name in metrics)
    assert metrics["inter_false_match_rate"] == metrics["inter_false_non_match_rate"] == 0  # a perfect network
    assert metrics["inter_calibration_error"] < 0.01 and metrics["inter_identified_at_fpir_1"] == 1
    report = dataset / "metrics" / "evaluate"
    tables = {"cmc", "det", "label_quality_inter", "train_inter"}
    assert {path.name for path in report.iterdir()} == (
        {f"{name}.csv" for name in (*tables, "reliability")} | {f"{name}.png" for name in (*tables, "ranked_lists")}
    )
    quality = pd.read_csv(report / "label_quality_inter.csv")
    assert quality["camera"].tolist() == [-1, 0, 1] and quality["camera_name"].tolist() == ["all", "door", "yard"]
    assert quality["pairwise_f"].tolist()[0] == 1
    with Image.open(report / "ranked_lists.png") as picture:
        assert picture.format == "PNG"


def test_which_of_my_files_are_in_which_cluster(dataset):
    labels = np.tile(np.arange(PEOPLE, dtype=np.int32), 2)
    labels[[0, 7]] = -1
    images = pd.read_parquet(dataset / "embeddings" / "train" / "rows.parquet")["image"]
    write_labels(dataset / "inter" / "labels.parquet", images=images, labels=number_clusters(labels))
    assert run(dataset).returncode == 0
    table = pd.read_parquet(dataset / "clusters" / "images.parquet")
    assert list(table.columns) == ["path", "camera", "tracklet", "cluster", "distance", "image"]
    spread = pd.read_csv(dataset / "clusters" / "images.csv")
    assert spread["path"].tolist() == table["path"].tolist() and spread["cluster"].tolist() == table["cluster"].tolist()
    found = {who: set(rows["path"]) for who, rows in table.groupby("cluster")}
    assert found[-1] == {"train/door/t/0.jpg", "train/yard/t/7.jpg"}
    assert {frozenset(paths) for who, paths in found.items() if who >= 0} == {
        frozenset({f"train/door/t/{who}.jpg", f"train/yard/t/{who + PEOPLE}.jpg"} - found[-1]) for who in range(PEOPLE)
    }
    assert set(table["camera"]) == {"door", "yard"} and set(table["tracklet"]) == {"t"}
    assert table.loc[table["cluster"] >= 0, "distance"].max() < 1e-6 and table["cluster"].tolist()[-2:] == [-1, -1]
    assert table.loc[table["cluster"] < 0, "distance"].isna().all()


def test_without_identities_labels_alone_are_measured(dataset):
    nobody = pd.read_parquet(dataset / "identities.parquet")[:0]
    write_identities(dataset / "identities.parquet", nobody)
    done = run(dataset)
    assert done.returncode == 0, done.stderr
    assert "no query has a known identity" in done.stdout
    metrics = json.loads((dataset / "metrics" / "evaluate.json").read_text())
    assert metrics["inter_clusters"] == PEOPLE and not any("mAP" in name for name in metrics)
    report = dataset / "metrics" / "evaluate"
    assert {path.name for path in report.iterdir()} == {"cmc.csv", "train_inter.csv", "train_inter.png"}
    assert (report / "cmc.csv").read_text() == "rank\n"


def test_embeddings_of_other_images_are_refused_in_one_message(dataset):
    rows = pd.read_parquet(dataset / "embeddings" / "query" / "rows.parquet")
    write_rows(dataset / "embeddings" / "query", rows[:-1])
    done = run(dataset)
    assert done.returncode == 1
    assert done.stderr.startswith("error: embeddings/query: 11 rows; expected 12, one per image")
    assert not (dataset / "metrics" / "evaluate.json").exists()
