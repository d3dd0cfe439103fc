"""What is said of labels: quality by epoch and camera against identities, and what labels show without them."""

import numpy as np
import pandas as pd
import pytest

from reidlib.labels.pseudo_labels import write_labels
from reidlib.report.runs import TrainedRun, final_quality, label_report, quality_table, read_runs, unlabelled_values


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_quality_counts_rows_an_epoch_does_not_hold_as_outliers():
    epochs = pd.DataFrame({"epoch": [0, 0, 0, 1, 1], "row": [0, 1, 2, 0, 1], "label": [0, 0, 1, 0, 0]})
    table = quality_table(epochs, np.int32([5, 5, 6, -1]), np.int16([0, 0, 1, 1]))
    assert table["epoch"].tolist() == [1, 1, 1, 2, 2, 2] and table["camera"].tolist() == [-1, 0, 1] * 2
    together = table[table["camera"] == -1]
    assert together["pairwise_f"].tolist() == [1.0, 1.0]
    assert together["outlier_share"].tolist() == pytest.approx([0, 1 / 3])
    assert table[table["camera"] == 1]["outlier_share"].tolist() == [0, 1]
    alone = quality_table(epochs, np.int32([5, 5, 6, -1]), np.int16([0, 0, 0, 0]))
    assert alone["camera"].tolist() == [-1, -1]


def test_unlabelled_values_need_no_identity():
    embeddings = unit(np.eye(4, 8)[np.repeat(range(4), 3)] + 0.01 * np.random.default_rng(0).normal(size=(12, 8)))
    labels, cameras = np.repeat(np.int32([0, 1, 2, -1]), 3), np.tile(np.int16([0, 0, 1]), 4)
    values = unlabelled_values(embeddings, labels, cameras, k1=30, k2=6)
    assert values["clusters"] == 3 and values["outlier_share"] == 0.25
    assert values["camera_span"] == 1 and values["images_per_cluster"] == 3
    assert -1 <= values["silhouette"] <= 1
    one = unlabelled_values(embeddings, np.zeros(12, np.int32), cameras, k1=30, k2=6)
    assert "silhouette" not in one and all(np.isfinite(value) for value in one.values())


def test_the_quality_of_final_labels_is_a_value():
    people, cameras = np.int32([1, 1, 2, 2, 0, -1]), np.int16([0, 1, 0, 1, 0, 1])
    perfect = final_quality(np.int32([0, 0, 1, 1, 2, 2]), people, cameras)  # the last two are nobody's
    assert perfect["pairwise_f"] == perfect["bcubed_f"] == perfect["nmi"] == perfect["expansion"] == 1
    one = final_quality(np.zeros(6, np.int32), people, cameras)
    assert one["pairwise_recall"] == 1 and one["pairwise_precision"] == pytest.approx(2 / 6)
    local = final_quality(np.int32([0, 1, 2, 3, 2, 3]), np.int32([1, 1, 2, 2, 2, 2]), cameras)  # camera by camera
    assert local["pairwise_f"] == 1
    assert final_quality(np.zeros(6, np.int32), np.int32([0, 0, -1, -1, 0, -1]), cameras) == {}


def test_distractors_are_nobody():
    epochs = pd.DataFrame({"epoch": 0, "row": range(6), "label": [0, 0, 1, 1, 2, 3]})
    table = quality_table(epochs, np.int32([1, 1, 2, 2, 0, 0]), np.zeros(6, np.int16))
    assert table["pairwise_f"].tolist() == [1] and table["clusters"].tolist() == [2]


def test_without_identities_labels_have_no_quality():
    images = [f"{number:016x}" for number in range(4)]
    rows = pd.DataFrame({"image": images, "camera": np.int16([0, 1, 0, 1])})
    unknown = pd.DataFrame({"image": [], "identity": np.int32([]), "name": []})
    epochs = pd.DataFrame({"epoch": 0, "row": range(4), "label": [0, 0, 1, 1]})
    run = TrainedRun(np.int32([0, 0, 1, 1]), epochs, pd.DataFrame({"epoch": [1]}), unit(np.eye(4, 8) + 0.1))
    values, tables = label_report({"inter": run}, rows, unknown, camera_labels=True, k1=2, k2=1)
    assert list(tables) == ["train_inter"] and values["inter_clusters"] == 2
    assert len(quality_table(epochs, np.full(4, -1, np.int32), np.int16([0, 1, 0, 1]))) == 0


def test_without_camera_labels_all_images_are_on_one_camera():
    images = [f"{number:016x}" for number in range(4)]
    rows = pd.DataFrame({"image": images, "camera": np.int16([0, 1, 0, 1])})
    identities = pd.DataFrame({"image": images, "identity": np.int32([1, 1, 2, 2]), "name": images})
    epochs = pd.DataFrame({"epoch": 0, "row": range(4), "label": [0, 0, 1, 1]})
    run = TrainedRun(np.int32([0, 0, 1, 1]), epochs, pd.DataFrame({"epoch": [1]}), unit(np.eye(4, 8) + 0.1))
    for camera_labels, span, cameras in ((True, 1, [-1, 0, 1]), (False, 0, [-1])):
        values, tables = label_report({"intra": run}, rows, identities, camera_labels=camera_labels, k1=2, k2=1)
        assert values["intra_clusters"] == 2 and values["intra_camera_span"] == span
        assert list(tables) == ["label_quality_intra", "train_intra"]
        assert tables["label_quality_intra"]["camera"].tolist() == cameras


def test_what_the_training_stages_left_is_read_where_a_network_was_trained(tmp_path):
    images = pd.Series([f"{number:016x}" for number in range(3)])
    write_labels(tmp_path / "inter" / "labels.parquet", images=images, labels=np.int32([0, 0, -1]))
    pd.DataFrame({"epoch": [0], "row": [1], "label": [0]}).to_parquet(tmp_path / "inter" / "epochs.parquet")
    (tmp_path / "train_inter.csv").write_text("epoch,loss\n1,2.5\n")
    folders = {name: tmp_path / name for name in ("intra", "inter")}
    networks = {name: {"train": unit(np.eye(3))} for name in ("initial", "inter")}
    runs = read_runs(folders, tmp_path, images=images, networks=networks)
    assert list(runs) == ["inter"]
    assert runs["inter"].labels.tolist() == [0, 0, -1]
    assert runs["inter"].epochs["row"].tolist() == [1] and runs["inter"].curves["loss"].tolist() == [2.5]
    with pytest.raises(ValueError, match="expected 2, one per image"):
        read_runs(folders, tmp_path, images=images[:2], networks=networks)
