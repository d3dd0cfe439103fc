from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from reidlib.labels.alignment import align_cameras, join_cues
from reidlib.labels.camera_similarity import nearer_across_cameras
from reidlib.labels.clustering import cluster
from reidlib.labels.dbscan import dbscan
from reidlib.labels.global_labelling import GlobalLabelling, global_labelling
from reidlib.labels.icsr import global_labels
from reidlib.labels.linkage import linkage
from reidlib.labels.local import local_labels
from reidlib.labels.quality import label_measures
from reidlib.labels.refinement import information_scores, refine_by_all, refined_clusters
from reidlib.labels.signs import camera_probe
from reidlib.neighbours.camera_aware import CameraAware, camera_aware_distance
from reidlib.neighbours.search import nearest

SILHOUETTE = {"name": "linkage", "n_clusters": "silhouette"}
DBSCAN = {"name": "dbscan", "eps": 0.6, "min_samples": 4}
PLAIN = GlobalLabelling(
    k1=15, k2=4, original_weight=0.0, method=DBSCAN, camera_similarity=0.0, nodes="all",
    link_k=10, link_min_similarity=0.4, camera_alignment="none", colour_weight=0.0, camera_aware=None,
)  # fmt: skip


@pytest.fixture
def images(people, labelling):
    """Embeddings, cameras, and labels inside the cameras."""
    embeddings, _, cameras = people(300, noise=1.2)
    inside = local_labels(embeddings, cameras, labelling=labelling("linkage", {"images_per_cluster": 4.0}), seed=0)
    return embeddings, inside.labels, cameras


@pytest.mark.parametrize("changes", [{}, {"nodes": "one"}, {"camera_alignment": "whiten"}, {"camera_similarity": 0.3}])
def test_global_labels_are_the_papers_steps(images, changes):
    embeddings, local, cameras = images
    how = replace(PLAIN, **changes)
    found = global_labels(embeddings, local, cameras, labelling=how, seed=0)
    rows = align_cameras(embeddings, cameras, alignment=how.camera_alignment)
    neighbours = near = nearest(rows, k=45)
    if how.camera_similarity:
        near = nearer_across_cameras(rows, neighbours, local, cameras, weight=0.3, k=15)
    clusters = cluster(rows, near, labelling=how, seed=0).labels
    expected = refined_clusters(clusters, local, cameras, neighbours, labelling=how, seed=0)
    assert np.array_equal(found.labels, expected) and not np.array_equal(expected, clusters)
    dropped = np.mean((expected < 0) & (clusters >= 0))
    probe = camera_probe(rows, cameras)
    assert found.measures == label_measures(expected, cameras) | {"refined_share": dropped, "camera_probe": probe}
    unrefined = global_labels(embeddings, local, cameras, labelling=replace(how, nodes="none"), seed=0)
    assert np.array_equal(unrefined.labels, clusters) and unrefined.measures["refined_share"] == 0


def test_two_cues_and_camera_aware_neighbours(images, people):
    embeddings, local, cameras = images
    colours = people(300, noise=2.0)[0][:, :7]
    colours = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    aware = {"own_k1": 4, "other_k1": 6, "own_k2": 2, "other_k2": 2}
    how = replace(PLAIN, camera_alignment="whiten", colour_weight=0.5, camera_aware=aware)
    found = global_labels(embeddings, local, cameras, labelling=how, seed=0, colours=colours)
    rows = join_cues(*(align_cameras(cue, cameras, alignment="whiten") for cue in (embeddings, colours)), weight=0.5)
    graph = camera_aware_distance(rows, cameras, settings=CameraAware(**aware))
    clusters = dbscan(graph, eps=0.6, min_samples=4)
    scores = information_scores(nearest(rows, k=10), links=10, min_similarity=0.4)
    assert np.array_equal(found.labels, refine_by_all(clusters, local, cameras, scores))
    assert found.measures["clusters"] > 10
    with pytest.raises(ValueError, match=r"refine\.colour_weight: 0\.5, but no colours"):
        global_labels(embeddings, local, cameras, labelling=how, seed=0)


@pytest.mark.parametrize(("noise", "twice"), [(1.0, True), (1.8, False)])
def test_as_many_neighbours_as_let_clusters_stand_apart(people, noise, twice):
    embeddings, _, cameras = people(300, noise=noise)
    fixed = {"own_k1": 4, "other_k1": 4, "own_k2": 2, "other_k2": 2}
    how = replace(PLAIN, camera_aware=fixed | {"adapt": True}, nodes="none", method=SILHOUETTE)
    silhouettes, labels = [], []
    for values in (fixed, {name: 2 * number for name, number in fixed.items()}):
        graph = camera_aware_distance(embeddings, cameras, settings=CameraAware(**values))
        labels.append(linkage(graph, n_clusters="silhouette"))
        own = np.where(labels[-1] < 0, 1000 + np.arange(300), labels[-1])
        dense = np.ones((300, 300))
        dense[graph.tocoo().coords] = graph.data
        silhouettes.append(silhouette_score(dense, own, metric="precomputed"))
    assert (silhouettes[1] > silhouettes[0]) == twice
    found = global_labels(embeddings, np.full(300, -1, np.int32), cameras, labelling=how, seed=0)
    assert np.array_equal(found.labels, labels[int(twice)]) and not np.array_equal(*labels)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 15),
        ({"camera_aware": {"own_k1": 4, "other_k1": 4}}, 10),
        ({"camera_aware": {"own_k1": 4, "other_k1": 4}, "nodes": "none"}, None),
        ({"link_k": 40}, 40),
        ({"link_k": 999}, 300),
        ({"link_k": 40, "nodes": "none"}, 15),
        ({"camera_similarity": 0.1}, 45),
        ({"method": {"name": "infomap", "k1": 20, "min_similarity": 0.3}}, 20),
        ({"method": {"name": "kmeans", "n_clusters": 30}}, 10),
        ({"method": {"name": "kmeans", "n_clusters": 30}, "nodes": "none", "camera_similarity": 0.1}, None),
    ],
)
def test_neighbours_are_searched_once_and_by_everybody(images, changes, count):
    searches, calls = [], []

    def search(rows, *, k):
        searches.append(k)
        assert not calls, "all processes search before one of them labels"
        return nearest(rows, k=k)

    def once(label):
        calls.append(label)
        return label()

    how = replace(PLAIN, **changes)
    found = global_labels(*images, labelling=how, seed=0, search=search, once=once)
    assert searches == ([] if count is None else [count]) and len(calls) == 1
    assert np.array_equal(found.labels, global_labels(*images, labelling=how, seed=0).labels)


def test_few_images_take_fewer_neighbours(images):
    few = [part[:30] for part in images]
    how = replace(PLAIN, k1=40, nodes="none", method={"name": "linkage", "n_clusters": 5})
    with pytest.warns(UserWarning, match="the training set has 30 images, too few for k1 = 40; 29 is used there"):
        global_labels(*few, labelling=how, seed=0)


def test_useless_labels_are_refused_before_and_after_refinement(images):
    with pytest.raises(ValueError, match=r"no cluster at all.*move dbscan's eps"):
        global_labels(*images, labelling=replace(PLAIN, method=DBSCAN | {"eps": 1e-6}), seed=0)
    alone, one_camera = np.arange(300, dtype=np.int32), np.zeros(300, dtype=np.int16)
    how = replace(PLAIN, method={"name": "linkage", "n_clusters": 3})
    with pytest.raises(ValueError, match=r"no cluster at all.*move refine\.nodes"):
        global_labels(images[0], alone, one_camera, labelling=how, seed=0)


def test_without_camera_labels_nothing_is_refined():
    values = vars(PLAIN) | {"camera_similarity": 0.1, "camera_alignment": "centre"}
    params = {"refine": values, "dataset": {"camera_labels": True}}
    assert global_labelling(params) == replace(PLAIN, camera_similarity=0.1, camera_alignment="centre")
    unknown = global_labelling(params | {"dataset": {"camera_labels": False}})
    assert unknown == replace(PLAIN, nodes="none", camera_alignment="centre")  # of all images, as those of one camera
    aware = params | {"refine": vars(PLAIN) | {"camera_aware": {"own_k1": 3}, "camera_alignment": "whiten"}}
    assert global_labelling(aware).camera_aware == {"own_k1": 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k1": 1}, r"refine\.k1: .*greater than or equal to 2"),
        ({"camera_alignment": "center"}, r"refine\.camera_alignment"),
        ({"camera_aware": {"own": 3}}, r"refine\.camera_aware\.own"),
        (
            {"camera_aware": {}, "original_weight": 0.3},
            r"refine\.original_weight: expected 0 beside refine\.camera_aware",
        ),
        ({"camera_aware": {}, "camera_similarity": 0.3}, r"refine\.camera_similarity: expected 0 beside"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        global_labelling({"refine": vars(PLAIN) | changes, "dataset": {"camera_labels": True}})
