import numpy as np
import pytest

from reidlib.labels import camera_similarity as module
from reidlib.labels.camera_similarity import camera_similarity, candidates_needed, nearer_across_cameras
from reidlib.neighbours.search import nearest


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
    found = nearer_across_cameras(embeddings, nearest(embeddings, k=30), local, cameras, weight=weight, k=10)
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


def test_more_neighbours_than_candidates_change_nothing(labelled):
    embeddings, local, cameras = labelled
    assert candidates_needed(10, images=120) == 30 and candidates_needed(50, images=120) == 120
    expected, found = (
        nearer_across_cameras(embeddings, nearest(embeddings, k=count), local, cameras, weight=0.1, k=10)
        for count in (30, 77)
    )
    assert found.indices.dtype == np.int32 and found.indices.shape == (120, 10)
    assert np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.similarities, expected.similarities)


def test_no_local_cluster_no_similarity(labelled):
    embeddings, local, cameras = labelled
    nothing, candidates = np.full_like(local, -1), nearest(embeddings, k=24)
    found = nearer_across_cameras(embeddings, candidates, nothing, cameras, weight=0.5, k=8)
    assert np.array_equal(found.indices, candidates.indices[:, :8])


def test_clusters_across_cameras_are_refused(labelled):
    embeddings, _, cameras = labelled
    across = np.zeros(120, dtype=np.int32)
    with pytest.raises(ValueError, match="cluster 0 is on cameras"):
        nearer_across_cameras(embeddings, nearest(embeddings, k=15), across, cameras, weight=0.1, k=5)
