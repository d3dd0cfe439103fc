import inspect

import numpy as np
import pytest

from reidlib.labels.bottom_up import bottom_up
from reidlib.labels.clustering import cluster, fit_to_images, neighbours_needed
from reidlib.labels.dbscan import choose_eps, dbscan
from reidlib.labels.graphs import block_diagonal
from reidlib.labels.local import given_labels, local_labels, silhouette_of, tracklet_labels
from reidlib.labels.methods import METHODS
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import label_quality, silhouette
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.neighbours.search import nearest

SETTINGS = {
    "bottom_up": {"start_share": 0.85},
    "dbscan": {"eps": 0.6, "min_samples": 4},
    "linkage": {"images_per_cluster": 10.0},
    "infomap": {"k1": 10, "min_similarity": 0.4, "smallest": 3},
    "kmeans": {"images_per_cluster": 10.0},
    "self_paced": {"eps": 0.6, "min_samples": 4},
}
WITHOUT_GRAPH = ("infomap", "kmeans")


def camera_graph(embeddings, cameras, *, k1, k2, fewest=3):
    """Every camera's own Jaccard distances in one graph."""
    parts = [np.flatnonzero(cameras == camera) for camera in np.unique(cameras)]
    blocks = [(rows, jaccard_distance(embeddings[rows], k1=k1, k2=k2)) for rows in parts if len(rows) >= fewest]
    return block_diagonal(len(embeddings), blocks)


def test_every_method_is_tried_here():
    assert SETTINGS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_clusters_are_the_people_and_repeat(people, labelling, name):
    embeddings, identities, _ = people(300, noise=0.4)
    how = labelling(name, SETTINGS[name])
    found = cluster(embeddings, labelling=how, seed=5)
    assert found.labels.dtype == np.int32
    assert np.array_equal(np.unique(found.labels[found.labels >= 0]), np.arange(found.labels.max() + 1))
    assert label_quality(found.labels, identities)["bcubed_f"] > 0.7
    assert np.array_equal(found.labels, cluster(embeddings, labelling=how, seed=5).labels)
    assert (found.distances is None) == (name in WITHOUT_GRAPH)


@pytest.mark.parametrize("name", SETTINGS)
def test_local_labels_are_each_cameras_own(people, labelling, name):
    embeddings, _, cameras = people(300, noise=0.4)
    how = labelling(name, SETTINGS[name])
    found = local_labels(embeddings, cameras, labelling=how, seed=5)
    assert np.array_equal(found.labels, number_clusters(found.labels)) and found.labels.dtype == np.int32
    for label in range(found.labels.max() + 1):
        assert len(np.unique(cameras[found.labels == label])) == 1
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = cluster(embeddings[rows], labelling=how, seed=5)
        inside = found.labels[rows]
        assert np.array_equal(inside < 0, alone.labels < 0)
        assert len(set(zip(inside.tolist(), alone.labels.tolist(), strict=True))) == len(set(inside.tolist()))
    assert found.measures["clusters"] == found.labels.max() + 1
    assert found.measures["outlier_share"] == np.mean(found.labels < 0)
    expected = silhouette(camera_graph(embeddings, cameras, k1=15, k2=4), found.labels)
    assert found.measures.get("silhouette") == (None if name in WITHOUT_GRAPH else expected)
    assert silhouette_of(embeddings, cameras, found.labels, labelling=how) == expected


def test_cameras_of_few_images_have_no_distances(people, labelling):
    embeddings, identities, cameras = people(120)
    cameras[[7, 70]] = 3  # too few to have neighbours
    how = labelling("linkage", {"images_per_cluster": 5.0}, k1=10, k2=3)
    found = local_labels(embeddings, cameras, labelling=how, seed=0)
    assert (found.labels[[7, 70]] == -1).all()
    graph = camera_graph(embeddings, cameras, k1=10, k2=3)
    assert found.measures["silhouette"] == silhouette(graph, found.labels)
    inside = number_clusters(identities * 4 + cameras, smallest=2)
    assert silhouette_of(embeddings, cameras, inside, labelling=how) == silhouette(graph, inside)


def test_a_camera_per_row(people, labelling):
    embeddings, _, cameras = people(30)
    how = labelling("linkage", {"n_clusters": 3})
    with pytest.raises(ValueError, match="a camera per row, found 29 for 30 rows"):
        inspect.unwrap(local_labels)(embeddings, cameras[:29], labelling=how, seed=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_search_made_before_is_not_made_again(people, labelling, name, monkeypatch):
    embeddings, _, cameras = people(200, noise=0.4)
    how = labelling(name, SETTINGS[name])
    expected = cluster(embeddings, labelling=how, seed=5).labels
    needed = neighbours_needed(how)
    assert needed == {"infomap": 10, "kmeans": 0}.get(name, 15)
    known = nearest(embeddings, k=max(needed, 1) + 3)
    asked = []

    def count(rows, *, k):
        asked.append((len(rows), k))
        return nearest(rows, k=k)

    monkeypatch.setattr("reidlib.labels.clustering.nearest", count)
    local_labels(embeddings, cameras, labelling=how, seed=5)
    assert asked == ([(count, needed) for count in np.bincount(cameras)] if needed else [])
    asked.clear()
    assert np.array_equal(cluster(embeddings, known, labelling=how, seed=5).labels, expected)
    assert not asked
    if needed:
        with pytest.raises(ValueError, match=f"expected {needed} neighbours of each row, got {needed - 1}"):
            cluster(embeddings, nearest(embeddings, k=needed - 1), labelling=how, seed=5)


def test_neighbours_needed_of_infomap_by_default(labelling):
    assert neighbours_needed(labelling("infomap", k1=30)) == 15


def test_one_camera_is_the_global_clustering(people, labelling):
    embeddings, _, _ = people(100)
    how = labelling("linkage", {"distance_threshold": 0.8})
    whole = cluster(embeddings, labelling=how, seed=0)
    local = local_labels(embeddings, np.zeros(100, dtype=np.int32), labelling=how, seed=0)
    assert np.array_equal(whole.labels, local.labels)


def test_small_cameras_take_fewer_neighbours_and_say_so(people, labelling):
    embeddings, _, _ = people(100)
    cameras = np.zeros(100, dtype=np.int32)
    cameras[[5, 20, 21, 40, 41, 42, 43, 44, 45, 46]] = [1, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    how = labelling("linkage", {"images_per_cluster": 5.0}, k2=8)
    with pytest.warns(UserWarning, match="camera 3 has 7 images, too few for k1 = 15; 6 is used there"):
        found = local_labels(embeddings, cameras, labelling=how, seed=0)
    assert (found.labels[[5, 20, 21]] == -1).all()
    infomap = labelling("infomap", {"k1": 40})
    with pytest.warns(UserWarning, match="here has 30 images, too few for k1 = 40; 29 is used there"):
        fitting = fit_to_images(infomap, images=30, where="here")
    assert (fitting.k1, fitting.k2, fitting.method["k1"]) == (15, 4, 29)
    assert fit_to_images(infomap, images=41, where="here") == infomap


def test_eps_is_chosen_on_the_whole_graph(people, labelling):
    embeddings, _, _ = people(200)
    graph = jaccard_distance(embeddings, k1=15, k2=4)
    found = cluster(embeddings, labelling=labelling("dbscan", {"eps": "auto", "min_samples": 4}), seed=0)
    assert np.array_equal(found.labels, dbscan(graph, eps=choose_eps(graph, min_samples=4), min_samples=4))
    assert np.array_equal(found.distances.data, graph.data)  # all of it: eps is looked for in the whole


def test_a_fixed_eps_stores_only_what_it_needs(people, labelling):
    embeddings, _, _ = people(200)
    how = labelling("dbscan", {"eps": 0.5, "min_samples": 4})
    found = cluster(embeddings, labelling=how, seed=0)
    assert found.distances.data.max() <= 0.5
    whole = cluster(embeddings, labelling=how, seed=0, complete=True)
    assert whole.distances.data.max() > 0.5
    assert np.array_equal(whole.labels, found.labels)
    wide = cluster(embeddings, labelling=labelling("self_paced", {"eps": 0.5, "min_samples": 4}), seed=0)
    assert 0.5 < wide.distances.data.max() <= 0.52


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_embeddings_are_refused(people, labelling, name):
    how = labelling(name, SETTINGS[name])
    embeddings = people(60)[0]
    broken = embeddings.copy()
    broken[3] = np.nan
    for wrong in (broken, embeddings[:0], embeddings[:1]):
        if name != "kmeans" or len(wrong) != 1:  # k-means makes a cluster of a single row, which the guards refuse
            with pytest.raises(ValueError):
                cluster(wrong, labelling=how, seed=0)
        with pytest.raises(ValueError):
            local_labels(wrong, np.zeros(len(wrong), dtype=np.int32), labelling=how, seed=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_awkward_arrays_give_the_same_labels(people, labelling, name):
    how = labelling(name, SETTINGS[name])
    embeddings = people(100, noise=0.4)[0]
    expected = cluster(embeddings, labelling=how, seed=0).labels
    read_only = embeddings.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(embeddings), read_only, np.repeat(embeddings, 2, axis=0)[::2]):
        assert np.array_equal(cluster(same, labelling=how, seed=0).labels, expected)


def test_duplicates_share_their_cluster(people, labelling):
    embeddings = people(100, noise=0.4)[0]
    doubled = np.concatenate([embeddings, embeddings])
    found = cluster(doubled, labelling=labelling("dbscan", {"eps": 0.5, "min_samples": 4}, k1=20), seed=0).labels
    assert np.array_equal(found[:100], found[100:])


def test_bottom_up_goes_on_from_the_labels_before(people, labelling):
    embeddings, _, cameras = people(300, noise=0.4)
    how = labelling("bottom_up")
    first = cluster(embeddings, labelling=how, seed=0)
    second = cluster(embeddings, labelling=how, seed=0, previous=first.labels)
    counts = [(found.labels.max() + 1) + (found.labels < 0).sum() for found in (first, second)]
    assert counts == [150, 135]
    assert np.array_equal(second.labels, bottom_up(first.distances, previous=first.labels))
    local = local_labels(embeddings, cameras, labelling=how, seed=0)
    later = local_labels(embeddings, cameras, labelling=how, seed=0, previous=local.labels)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = bottom_up(jaccard_distance(embeddings[rows], k1=15, k2=4), previous=local.labels[rows])
        assert np.array_equal(number_clusters(later.labels[rows]), alone)


def test_tracklets_are_classes_inside_cameras():
    labels = tracklet_labels(np.array([9, -1, 4, 9, 4, 7], np.int32))
    assert labels.tolist() == [0, -1, 1, 0, 1, 2]
    assert given_labels(labels).measures == {"clusters": 3.0, "outlier_share": 1 / 6}
    with pytest.raises(ValueError, match="expected images of at least two tracklets, found 0 among 6 images"):
        tracklet_labels(np.full(6, -1, np.int32))
