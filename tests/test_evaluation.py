import numpy as np
import pandas as pd
import pytest

from reidlib.evaluation import (
    Reranking,
    choose_queries,
    quality_tables,
    retrieval_report,
    unlabelled_values,
)
from reidlib.images.table import known_identities


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def scene():
    """6 people on 2 cameras: queries on camera 0, a gallery on both, one distractor, one image nobody knows."""
    generator = np.random.default_rng(0)
    people = np.eye(6, 12)
    query = unit(people + 0.1 * generator.normal(size=(6, 12)))
    gallery = unit(np.vstack([people, people, np.ones((2, 12))]) + 0.1 * generator.normal(size=(14, 12)))
    ids = [f"{number:016x}" for number in range(20)]
    index = pd.DataFrame(
        {
            "image": ids,
            "split": ["query"] * 6 + ["gallery"] * 14,
            "row": [*range(6), *range(14)],
            "camera": np.int16([0] * 6 + [0] * 6 + [1] * 6 + [1, 1]),
        }
    )
    known = [*range(1, 7), *range(1, 7), *range(1, 7), 0]
    identities = pd.DataFrame({"image": ids[:19], "identity": np.int32(known), "name": ids[:19]})
    return index, identities, {"query": query, "gallery": gallery}


def test_retrieval_equals_a_naive_ranking(scene):
    index, identities, embedded = scene
    worse = {
        split: unit(rows + 2 * np.random.default_rng(1).normal(size=rows.shape)) for split, rows in embedded.items()
    }
    report = retrieval_report(index, identities, {"bad": worse, "good": embedded}, reranking=None, ranked_queries=3)
    for name, splits in {"bad": worse, "good": embedded}.items():
        firsts = []
        for row in range(6):
            keep = [g for g in range(13) if not (g % 6 == row and g < 6)]  # without its own camera and the unknown
            order = sorted(keep, key=lambda g: -(splits["query"][row] @ splits["gallery"][g]))
            firsts.append(next(place for place, g in enumerate(order) if 6 <= g < 12 and g % 6 == row))
        assert report.values()[f"{name}_rank1"] == pytest.approx(100 * np.mean([first == 0 for first in firsts]))
        assert report.values()[f"{name}_mAP"] == pytest.approx(100 * np.mean([1 / (first + 1) for first in firsts]))
    assert len(report.lists) == 3 and all(13 not in rows for rows in report.lists.values())
    assert list(report.cmc().columns) == ["rank", "bad", "good"]


def test_reranking_is_reported_beside(scene):
    index, identities, embedded = scene
    report = retrieval_report(index, identities, {"a": embedded}, reranking=Reranking(3, 2, 0.3), ranked_queries=1)
    assert set(report.results) == {"a", "a_reranked"}
    assert "a_reranked_mAP" in report.values()


def test_without_identities_there_is_nothing_to_rank(scene):
    index, identities, embedded = scene
    report = retrieval_report(index, identities[:0], {"a": embedded}, reranking=None, ranked_queries=3)
    assert report.values() == {} and report.lists == {} and len(report.cmc()) == 0
    assert (
        quality_tables(
            "intra", pd.DataFrame({"epoch": [0], "row": [0], "label": [0]}), np.int32([-1, -1]), np.int16([0, 1])
        )
        == {}
    )


def test_known_identities_follow_the_images(scene):
    _, identities, _ = scene
    wanted = pd.Series([f"{number:016x}" for number in (19, 3, 0)])
    np.testing.assert_array_equal(known_identities(wanted, identities), [-1, 4, 1])


def test_quality_counts_rows_an_epoch_does_not_hold_as_outliers():
    epochs = pd.DataFrame({"epoch": [0, 0, 0, 1, 1], "row": [0, 1, 2, 0, 1], "label": [0, 0, 1, 0, 0]})
    table = quality_tables("inter", epochs, np.int32([5, 5, 6, -1]), np.int16([0, 0, 1, 1]))["label_quality_inter"]
    assert table["epoch"].tolist() == [1, 1, 1, 2, 2, 2] and table["camera"].tolist() == [-1, 0, 1] * 2
    together = table[table["camera"] == -1]
    assert together["pairwise_f"].tolist() == [1.0, 1.0]
    assert together["outlier_share"].tolist() == pytest.approx([0, 1 / 3])
    assert table[table["camera"] == 1]["outlier_share"].tolist() == [0, 1]
    alone = quality_tables("inter", epochs, np.int32([5, 5, 6, -1]), np.int16([0, 0, 0, 0]))["label_quality_inter"]
    assert alone["camera"].tolist() == [-1, -1]


def test_unlabelled_values_need_no_identity():
    embeddings = unit(np.eye(4, 8)[np.repeat(range(4), 3)] + 0.01 * np.random.default_rng(0).normal(size=(12, 8)))
    labels, cameras = np.repeat(np.int32([0, 1, 2, -1]), 3), np.tile(np.int16([0, 0, 1]), 4)
    values = unlabelled_values("inter", embeddings, labels, cameras, k1=30, k2=6)
    assert values["inter_clusters"] == 3 and values["inter_outlier_share"] == 0.25
    assert values["inter_camera_span"] == 1 and values["inter_images_per_cluster"] == 3
    assert -1 <= values["inter_silhouette"] <= 1
    one = unlabelled_values("inter", embeddings, np.zeros(12, np.int32), cameras, k1=30, k2=6)
    assert "inter_silhouette" not in one and all(np.isfinite(value) for value in one.values())


def test_no_more_queries_are_chosen_than_there_are():
    assert choose_queries(np.array([0.5, np.nan, 0.7]), count=5) == [2, 0]
