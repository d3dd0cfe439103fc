import numpy as np
import pytest
import torch

from reidlib.labels import camera_similarity as module
from reidlib.labels.camera_similarity import camera_similarity, candidates_needed, with_camera_similarity
from reidlib.labels.clustering import cluster, local_clusters
from reidlib.neighbours.search import nearest, remembered


def naive_similarity(embeddings, local, cameras):
    """J of all pairs: the formula, with loops over cameras and clusters."""
    rows = embeddings.astype(np.float64)
    probabilities = []
    for camera in sorted(set(cameras.tolist())):
        clusters = sorted(set(local[(cameras == camera) & (local >= 0)].tolist()))
        if clusters:
            means = np.array([rows[local == cluster].mean(axis=0) for cluster in clusters])
            scores = np.exp(rows @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T / 0.05)
            probabilities.append(scores / scores.sum(axis=1, keepdims=True))
    n = len(rows)
    found = np.zeros((n, n))
    if probabilities:
        joined = np.concatenate(probabilities, axis=1)
        for i in range(n):
            for j in range(n):
                if cameras[i] != cameras[j]:
                    found[i, j] = np.minimum(joined[i], joined[j]).sum() / np.maximum(joined[i], joined[j]).sum()
    return found


@pytest.fixture
def labelled(people):
    embeddings, identities, cameras = people(120, cameras=3)
    cameras[identities % 4 == 0] += 5  # numbers with gaps
    local = (identities * 10 + cameras).astype(np.int32)
    local[::7] = -1
    return embeddings, local, cameras


@pytest.mark.parametrize("width", [3, 1024])
def test_similarity_is_the_formula_however_it_is_cut(labelled, width, monkeypatch):
    monkeypatch.setattr(module, "CLUSTERS", width)
    embeddings, local, cameras = labelled
    indices = np.tile(np.arange(120, dtype=np.int32), (120, 1))
    found = camera_similarity(embeddings, indices, local, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive_similarity(embeddings, local, cameras), atol=2e-5)
    assert np.array_equal(found, found.T)
    assert (found[cameras[:, None] == cameras] == 0).all() and (found <= 1).all() and found.max() > 0.1


def test_the_same_embedding_on_two_cameras_is_wholly_similar(labelled):
    embeddings, local, cameras = labelled
    one, other = np.flatnonzero(cameras == 1)[0], np.flatnonzero(cameras == 2)[0]
    embeddings[other] = embeddings[one]
    indices = np.tile(np.arange(120, dtype=np.int32), (120, 1))
    assert camera_similarity(embeddings, indices, local, cameras)[one, other] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.4])
def test_neighbours_are_the_nearest_of_the_dense_distance_among_the_candidates(labelled, weight):
    embeddings, local, cameras = labelled
    found = with_camera_similarity(nearest, local, cameras, weight=weight)(embeddings, k=10)
    cosines = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
    closeness = cosines + weight * naive_similarity(embeddings, local, cameras)
    for i in range(120):
        candidates = np.argsort(-cosines[i], kind="stable")[:30]
        expected = sorted(set(candidates.tolist()) - {i}, key=lambda j: -closeness[i, j])[:9]
        assert found.indices[i, 0] == i
        np.testing.assert_allclose(closeness[i, found.indices[i, 1:]], closeness[i, expected], atol=1e-5)
    np.testing.assert_allclose(found.similarities, np.take_along_axis(cosines, found.indices, axis=1), atol=1e-5)
    plain = nearest(embeddings, k=10)
    assert np.array_equal(found.indices, plain.indices) == (weight == 0)


def test_what_was_searched_before_and_tensors_give_the_same(labelled):
    embeddings, local, cameras = labelled
    expected = with_camera_similarity(nearest, local, cameras, weight=0.1)(embeddings, k=10)
    assert candidates_needed(10, images=120) == 30 and candidates_needed(50, images=120) == 120
    search = with_camera_similarity(remembered(nearest(embeddings, k=30)), local, cameras, weight=0.1)
    again = search(embeddings, k=10)
    assert again.indices.dtype == np.int32
    tensors = search(torch.from_numpy(embeddings), k=10)
    for found in (again, tensors):
        assert np.array_equal(found.indices, expected.indices)
        assert np.array_equal(found.similarities, expected.similarities)
    assert isinstance(tensors.indices, torch.Tensor)
    with pytest.raises(ValueError, match="remembered search"):
        search(embeddings, k=11)


def test_clusterings_take_it_as_their_search(people):
    embeddings, _, cameras = people(200, noise=0.6)
    method = {"name": "linkage", "quantile": 0.02}
    settings = {"k1": 15, "k2": 4, "method": method, "seed": 0, "original_weight": 0.3}
    local = local_clusters(embeddings, cameras, **settings).labels
    search = with_camera_similarity(nearest, local, cameras, weight=0.1)
    found = cluster(embeddings, **settings, search=search)
    assert np.array_equal(found.labels, cluster(torch.from_numpy(embeddings), **settings, search=search).labels)
    assert not np.array_equal(found.distances.toarray(), cluster(embeddings, **settings).distances.toarray())
    plain = cluster(embeddings, **settings, search=with_camera_similarity(nearest, local, cameras, weight=0.0))
    assert np.array_equal(plain.labels, cluster(embeddings, **settings).labels)


def test_no_local_cluster_no_similarity(labelled):
    embeddings, local, cameras = labelled
    nothing = np.full_like(local, -1)
    found = with_camera_similarity(nearest, nothing, cameras, weight=0.5)(embeddings, k=8)
    assert np.array_equal(found.indices, nearest(embeddings, k=8).indices)


def test_other_rows_and_clusters_across_cameras_are_refused(labelled):
    embeddings, local, cameras = labelled
    search = with_camera_similarity(nearest, local, cameras, weight=0.1)
    with pytest.raises(ValueError, match="120 cameras are known, asked for 100"):
        search(embeddings[:100], k=5)
    across = np.zeros(120, dtype=np.int32)
    with pytest.raises(ValueError, match="inside cameras, found local label 0 on several"):
        with_camera_similarity(nearest, across, cameras, weight=0.1)(embeddings, k=5)
