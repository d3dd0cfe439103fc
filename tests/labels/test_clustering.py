import numpy as np
import pytest
import torch

from reidlib.labels.bottom_up import bottom_up
from reidlib.labels.clustering import cluster, local_clusters, local_distances, neighbours_needed
from reidlib.labels.dbscan import choose_eps, dbscan
from reidlib.labels.methods import METHODS
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import label_quality, silhouette
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.neighbours.search import nearest, remembered

SETTINGS = {
    "bottom_up": {"start_share": 0.85},
    "dbscan": {"eps": 0.6, "min_samples": 4},
    "linkage": {"images_per_cluster": 10},
    "infomap": {"k1": 10, "min_similarity": 0.4, "smallest": 3},
    "kmeans": {"images_per_cluster": 10},
    "self_paced": {"eps": 0.6, "min_samples": 4},
}


def test_every_method_is_tried_here():
    assert SETTINGS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_clusters_are_the_people_and_repeat(people, name):
    embeddings, identities, _ = people(300, noise=0.4)
    method = {"name": name} | SETTINGS[name]
    found = cluster(embeddings, k1=15, k2=4, method=method, seed=5)
    assert found.labels.dtype == np.int32
    assert np.array_equal(np.unique(found.labels[found.labels >= 0]), np.arange(found.labels.max() + 1))
    assert label_quality(found.labels, identities)["bcubed_f"] > 0.7
    again = cluster(embeddings, k1=15, k2=4, method=method, seed=5)
    assert np.array_equal(found.labels, again.labels)
    assert (found.distances is None) == (name in ("infomap", "kmeans"))


@pytest.mark.parametrize("name", SETTINGS)
def test_local_clusters_are_each_cameras_own(people, name):
    embeddings, _, cameras = people(300, noise=0.4)
    method = {"name": name} | SETTINGS[name]
    found = local_clusters(embeddings, cameras, k1=15, k2=4, method=method, seed=5)
    for label in range(found.labels.max() + 1):
        assert len(np.unique(cameras[found.labels == label])) == 1
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = cluster(embeddings[rows], k1=15, k2=4, method=method, seed=5)
        inside = found.labels[rows]
        assert np.array_equal(inside < 0, alone.labels < 0)
        assert len(set(zip(inside.tolist(), alone.labels.tolist(), strict=True))) == len(set(inside.tolist()))
    if found.distances is not None:
        assert -1 <= silhouette(found.distances, found.labels) <= 1


def test_local_distances_are_the_cameras_graphs(people):
    embeddings, _, cameras = people(120)
    cameras[[7, 70]] = 3  # too few to have neighbours
    method = {"name": "linkage", "images_per_cluster": 5}
    found = local_clusters(embeddings, cameras, k1=10, k2=3, method=method, seed=0)
    alone = local_distances(embeddings, cameras, k1=10, k2=3)
    for graph in (alone, local_distances(torch.from_numpy(embeddings), cameras, k1=10, k2=3)):
        np.testing.assert_allclose(graph.toarray(), found.distances.toarray(), atol=1e-5)
    assert np.array_equal(alone.data, found.distances.data)
    cameras[[7, 70]] = [0, 1]
    found = local_clusters(embeddings, cameras, k1=10, k2=3, method=method, seed=0)
    assert found.distances is not None
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = jaccard_distance(embeddings[rows], k1=10, k2=3)
        assert np.array_equal(found.distances[rows][:, rows].toarray(), alone.toarray())
    row, column = found.distances.nonzero()
    assert (cameras[row] == cameras[column]).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_search_made_before_is_not_made_again(people, name, monkeypatch):
    embeddings, _, cameras = people(200, noise=0.4)
    method = {"name": name} | SETTINGS[name]
    settings = {"k1": 15, "k2": 4, "method": method, "seed": 5}
    expected = cluster(embeddings, **settings)
    needed = neighbours_needed(method, k1=15)
    assert needed == {"infomap": 10, "kmeans": 0}.get(name, 15)
    found = nearest(embeddings, k=max(needed, 1) + 3)
    asked = []

    def counted(rows, *, k):
        asked.append((len(rows), k))
        return nearest(rows, k=k)

    local = local_clusters(embeddings, cameras, **settings)
    again = local_clusters(embeddings, cameras, **settings, search=counted)
    assert np.array_equal(local.labels, again.labels)
    assert asked == ([(count, needed) for count in np.bincount(cameras)] if needed else [])
    for module in ("labels.clustering", "labels.infomap_clusters", "neighbours.jaccard"):
        monkeypatch.setattr(f"reidlib.{module}.nearest", None)
    assert np.array_equal(cluster(embeddings, **settings, search=remembered(found)).labels, expected.labels)
    if needed:
        with pytest.raises(ValueError, match="remembered search"):
            cluster(embeddings, **settings, search=remembered(nearest(embeddings, k=needed - 1)))


def test_neighbours_needed_of_infomap_by_default():
    assert neighbours_needed({"name": "infomap"}, k1=30) == 15


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"kmeans"}))
def test_tensors_are_labelled_where_they_are_and_the_same(people, name):
    """On a GPU arrays become tensors; here the way of the tensors runs on the CPU."""
    embeddings, _, cameras = people(200, noise=0.4)
    tensors = torch.from_numpy(embeddings)
    settings = {"k1": 15, "k2": 4, "method": {"name": name} | SETTINGS[name], "seed": 5}
    for one, other in (
        (cluster(embeddings, **settings), cluster(tensors, **settings)),
        (local_clusters(embeddings, cameras, **settings), local_clusters(tensors, cameras, **settings)),
    ):
        assert np.array_equal(one.labels, other.labels)
        assert (one.distances is None) == (other.distances is None)
        if one.distances is not None:
            np.testing.assert_allclose(one.distances.toarray(), other.distances.toarray(), atol=1e-5)


def test_arrays_go_to_the_gpu_where_there_is_one(people, monkeypatch):
    embeddings, _, _ = people(100)
    sent = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda rows: sent.append(tuple(rows.shape)) or rows)
    for method in ({"name": "linkage", "images_per_cluster": 10}, {"name": "kmeans", "n_clusters": 10}):
        cluster(embeddings, k1=15, k2=4, method=method, seed=0)
    assert sent == [(100, 32)]


def test_one_camera_is_the_global_clustering(people):
    embeddings, _, _ = people(100)
    method = {"name": "linkage", "distance_threshold": 0.8}
    whole = cluster(embeddings, k1=15, k2=4, method=method, seed=0)
    local = local_clusters(embeddings, np.zeros(100, dtype=np.int32), k1=15, k2=4, method=method, seed=0)
    assert np.array_equal(whole.labels, local.labels)


def test_small_cameras_lower_k1_and_say_so(people):
    embeddings, _, _ = people(100)
    cameras = np.zeros(100, dtype=np.int32)
    cameras[[5, 20, 21, 40, 41, 42, 43, 44, 45, 46]] = [1, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    method = {"name": "linkage", "images_per_cluster": 5}
    with pytest.warns(UserWarning, match="camera 3 has 7 images, too few for k1 = 15; 6 is used there"):
        found = local_clusters(embeddings, cameras, k1=15, k2=8, method=method, seed=0)
    assert (found.labels[[5, 20, 21]] == -1).all()


def test_eps_is_chosen_on_the_whole_graph(people):
    embeddings, _, _ = people(200)
    graph = jaccard_distance(embeddings, k1=15, k2=4)
    method = {"name": "dbscan", "eps": "auto", "min_samples": 4}
    found = cluster(embeddings, k1=15, k2=4, method=method, seed=0)
    assert np.array_equal(found.labels, dbscan(graph, eps=choose_eps(graph, min_samples=4), min_samples=4))
    assert np.array_equal(found.distances.data, graph.data)  # all of it: eps is looked for in the whole


def test_a_fixed_eps_stores_only_what_it_needs(people):
    embeddings, _, _ = people(200)
    method = {"name": "dbscan", "eps": 0.5, "min_samples": 4}
    found = cluster(embeddings, k1=15, k2=4, method=method, seed=0)
    assert found.distances.data.max() <= 0.5
    whole = cluster(embeddings, k1=15, k2=4, method=method, seed=0, complete=True)
    assert whole.distances.data.max() > 0.5
    assert np.array_equal(whole.labels, found.labels)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "dbscann", "eps": 0.5}, "found 'dbscann'"),
        ({"eps": 0.5}, "found None"),
        ({"name": "dbscan", "epps": 0.5, "min_samples": 4}, "unknown setting epps; known: min_samples, eps, quantile"),
        ({"name": "dbscan", "eps": 0.5}, "missing setting min_samples"),
        ({"name": "dbscan", "eps": 1e-5, "min_samples": 9}, "no cluster at all.*move dbscan's eps"),
        ({"name": "linkage", "n_clusters": 1}, "one cluster alone.*linkage's n_clusters \\(now 1\\)"),
        ({"name": "infomap", "min_similarity": 0.9999}, "no cluster at all.*infomap's min_similarity"),
    ],
)
def test_wrong_methods_and_useless_labels_are_refused(people, method, message):
    embeddings, _, _ = people(40, per_identity=20, noise=0.3)
    with pytest.raises(ValueError, match=message):
        cluster(embeddings, k1=25, k2=4, method=method, seed=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_embeddings_are_refused(people, name):
    method = {"name": name} | SETTINGS[name]
    embeddings = people(60)[0]
    broken = embeddings.copy()
    broken[3] = np.nan
    for wrong in (broken, embeddings[:0], embeddings[:1]):
        with pytest.raises(ValueError):
            cluster(wrong, k1=15, k2=4, method=method, seed=0)
        with pytest.raises(ValueError):
            local_clusters(wrong, np.zeros(len(wrong), dtype=np.int32), k1=15, k2=4, method=method, seed=0)


@pytest.mark.parametrize("name", SETTINGS)
def test_awkward_arrays_give_the_same_labels(people, name):
    method = {"name": name} | SETTINGS[name]
    embeddings = people(100, noise=0.4)[0]
    expected = cluster(embeddings, k1=15, k2=4, method=method, seed=0).labels
    read_only = embeddings.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(embeddings), read_only, np.repeat(embeddings, 2, axis=0)[::2]):
        assert np.array_equal(cluster(same, k1=15, k2=4, method=method, seed=0).labels, expected)


def test_duplicates_share_their_cluster(people):
    embeddings = people(100, noise=0.4)[0]
    doubled = np.concatenate([embeddings, embeddings])
    found = cluster(doubled, k1=20, k2=4, method={"name": "dbscan", "eps": 0.5, "min_samples": 4}, seed=0).labels
    assert np.array_equal(found[:100], found[100:])


def test_bottom_up_goes_on_from_the_labels_before(people):
    embeddings, _, cameras = people(300, noise=0.4)
    settings = {"k1": 15, "k2": 4, "method": {"name": "bottom_up"}, "seed": 0}
    first = cluster(embeddings, **settings)
    second = cluster(embeddings, **settings, previous=first.labels)
    counts = [(found.labels.max() + 1) + (found.labels < 0).sum() for found in (first, second)]
    assert counts == [150, 135]
    assert np.array_equal(second.labels, bottom_up(first.distances, previous=first.labels))
    first = local_clusters(embeddings, cameras, **settings)
    second = local_clusters(embeddings, cameras, **settings, previous=first.labels)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        alone = bottom_up(jaccard_distance(embeddings[rows], k1=15, k2=4), previous=first.labels[rows])
        assert np.array_equal(number_clusters(second.labels[rows]), alone)
