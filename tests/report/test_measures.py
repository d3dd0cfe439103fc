from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reidlib.images.identities import known_identities
from reidlib.images.split import Split, write_rows
from reidlib.report.measures import choose_queries, read_embeddings, retrieval_report
from reidlib.tables import write_array


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def as_split(rows):
    return Split(np.zeros((len(rows), 2, 1, 3), np.uint8), rows.reset_index(drop=True))


@pytest.fixture(scope="module")
def scene():
    """6 people on 2 cameras: queries on camera 0, a gallery on both, one distractor, one image nobody knows."""
    generator = np.random.default_rng(0)
    people = np.eye(6, 12)
    query = unit(people + 0.1 * generator.normal(size=(6, 12)))
    gallery = unit(np.vstack([people, people, np.ones((2, 12))]) + 0.1 * generator.normal(size=(14, 12)))
    ids = [f"{number:016x}" for number in range(20)]
    rows = pd.DataFrame({"image": ids, "camera": np.int16([0] * 6 + [0] * 6 + [1] * 6 + [1, 1])})
    sides = {"query": as_split(rows[:6]), "gallery": as_split(rows[6:])}
    known = [*range(1, 7), *range(1, 7), *range(1, 7), 0]
    identities = pd.DataFrame({"image": ids[:19], "identity": np.int32(known), "name": ids[:19]})
    return sides, identities, {"query": query, "gallery": gallery}


def test_retrieval_equals_a_naive_ranking(scene):
    sides, identities, embedded = scene
    worse = {
        split: unit(rows + 2 * np.random.default_rng(1).normal(size=rows.shape)) for split, rows in embedded.items()
    }
    networks = {"bad": worse, "good": embedded}
    report = retrieval_report(**sides, identities=identities, networks=networks, reranking=None, ranked_queries=3)
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
    sides, identities, embedded = scene
    reranking = {"k1": 3, "k2": 2, "weight": 0.3}
    report = retrieval_report(*sides.values(), identities, {"a": embedded}, reranking=reranking, ranked_queries=1)
    assert set(report.results) == {"a", "a_reranked"}
    assert "a_reranked_mAP" in report.values()


def test_tracklets_are_measured_beside_by_their_averages(scene):
    sides, identities, embedded = scene
    tracklets = {"query": np.arange(6) // 2, "gallery": np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 9, -1, -1, 12, 13])}
    moved = {name: replace(side, rows=side.rows.assign(tracklet=tracklets[name])) for name, side in sides.items()}
    settings = {"identities": identities, "networks": {"a": embedded}, "reranking": None, "ranked_queries": 1}
    report = retrieval_report(**moved, **settings, tracklets=True)
    plain = retrieval_report(**sides, **settings)
    assert {name: value for name, value in report.values().items() if "tracklet" not in name} == plain.values()
    whose = {0: 1, 1: 3, 2: 5}  # of two people each: the lower number
    averaged = [(1, [6, 7, 8]), (4, [9]), (5, [10]), (6, [11]), (0, [12])]  # gallery: identities 1 to 3 became one
    precisions = []
    for tracklet, who in whose.items():
        query = unit([embedded["query"][2 * tracklet : 2 * tracklet + 2].mean(axis=0)])[0]
        others = averaged + [(number + 1, [number]) for number in range(6) if number + 1 != who]
        order = sorted(others, key=lambda each: -float(query @ unit([embedded["gallery"][each[1]].mean(axis=0)])[0]))
        places = [place for place, (identity, _) in enumerate(order) if identity == who]
        precisions += [1 / (places[0] + 1)] if places else []
    assert report.values()["a_tracklets_mAP"] == pytest.approx(100 * np.mean(precisions))
    assert (report.values()["tracklet_queries"], report.values()["ignored_tracklet_queries"]) == (2, 1)
    with pytest.raises(ValueError, match=r"evaluate\.tracklets: expected tracklets .* found none"):
        none = {name: replace(side, rows=side.rows.assign(tracklet=-1)) for name, side in sides.items()}
        retrieval_report(**none, **settings, tracklets=True)


def test_without_identities_there_is_nothing_to_rank(scene, capsys):
    sides, identities, embedded = scene
    report = retrieval_report(*sides.values(), identities[:0], {"a": embedded}, reranking=None, ranked_queries=3)
    assert report.values() == {} and report.lists == {} and len(report.cmc()) == 0
    assert "no query has a known identity" in capsys.readouterr().out


def test_matches_on_the_own_camera_count_without_camera_labels_and_never_with_them(scene, capsys):
    sides, identities, embedded = scene
    alone = {name: replace(side, rows=side.rows.assign(camera=np.int16(0))) for name, side in sides.items()}
    settings = {"identities": identities, "networks": {"a": embedded}, "reranking": None, "ranked_queries": 1}
    report = retrieval_report(**alone, **settings)
    assert report.values() == {} and report.lists == {}
    assert "no query has its person in the gallery on another camera" in capsys.readouterr().out
    unlabelled = {name: replace(side, camera_labels=False) for name, side in alone.items()}
    report = retrieval_report(**unlabelled, **settings)
    assert "dataset.camera_labels=false: matches on the query's own camera count" in capsys.readouterr().out
    precisions = []
    for row in range(6):  # 13 gallery images are known, two of them the query's, none is left out
        order = np.argsort(-(embedded["gallery"][:13] @ embedded["query"][row]), kind="stable")
        places = [place for place, g in enumerate(order, start=1) if g < 12 and g % 6 == row]
        precisions.append(np.mean([(number + 1) / place for number, place in enumerate(places)]))
    assert report.values()["a_mAP"] == pytest.approx(100 * np.mean(precisions))


@pytest.mark.parametrize(
    ("reranking", "message"),
    [
        ({"k1": 0, "k2": 1, "weight": 0.3}, r"evaluate\.reranking\.k1: .* greater than or equal to 1"),
        ({"k1": 3, "k2": 1, "weight": 1.5}, r"evaluate\.reranking\.weight: .* less than or equal to 1"),
        ({"k1": 3, "k2": 1}, r"evaluate\.reranking\.weight: Field required"),
    ],
)
def test_settings_of_reranking_are_checked(scene, reranking, message):
    sides, identities, embedded = scene
    with pytest.raises(ValueError, match=message):
        retrieval_report(*sides.values(), identities, {"a": embedded}, reranking=reranking, ranked_queries=1)


def test_known_identities_follow_the_images(scene):
    _, identities, _ = scene
    wanted = pd.Series([f"{number:016x}" for number in (19, 3, 0)])
    np.testing.assert_array_equal(known_identities(wanted, identities), [-1, 4, 1])


def test_no_more_queries_are_chosen_than_there_are():
    assert choose_queries(np.array([0.5, np.nan, 0.7]), count=5) == [2, 0]


@pytest.fixture
def embeddings(tmp_path):
    """A folder of embeddings of two splits by two networks, and the ids of their images."""
    images = {}
    for split, count in (("train", 3), ("query", 2)):
        images[split] = pd.Series([f"{number:016x}" for number in range(count)], name="image")
        rows = pd.DataFrame({"image": images[split], "camera": 0, "tracklet": -1, "frame": -1})
        write_rows(tmp_path / split, rows)
        for network in ("inter", "initial"):
            write_array(tmp_path / split / f"{network}.npy", unit(np.eye(count, 4)))
    return tmp_path, images


def test_networks_that_were_trained_are_read_in_the_pipelines_order(embeddings):
    folder, images = embeddings
    networks = read_embeddings(folder, images=images)
    assert list(networks) == ["initial", "inter"]
    assert {split: len(rows) for split, rows in networks["inter"].items()} == {"train": 3, "query": 2}
    np.testing.assert_array_equal(networks["initial"]["query"], np.eye(2, 4))


def test_embeddings_of_other_images_are_refused(embeddings):
    folder, images = embeddings
    with pytest.raises(ValueError, match=r"query: row 1 is image 0{15}1; expected f{16}"):
        read_embeddings(folder, images=images | {"query": pd.Series(["0" * 16, "f" * 16])})
    write_array(folder / "train" / "inter.npy", unit(np.eye(2, 4)))
    with pytest.raises(ValueError, match=r"expected float32 embeddings of 3 images, found float32 \(2, 4\)"):
        read_embeddings(folder, images=images)
    (folder / "train" / "inter.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"inter\.npy: no such file"):
        read_embeddings(folder, images=images)
