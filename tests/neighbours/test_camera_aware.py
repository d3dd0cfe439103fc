"""CA-Jaccard against the definition with sets, loops and dense matrices; how it adapts; bad input."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from reidlib.neighbours.camera_aware import (
    CameraAware,
    camera_aware_distance,
    camera_neighbours,
    fit_to_mutuality,
    mutual_shares,
)


def ranked(embeddings, cameras, row, *, own):
    """The other rows of the row's camera, or of others, nearest first; the row itself comes first on its own camera."""
    there = [j for j in range(len(cameras)) if (cameras[j] == cameras[row]) == own]
    return sorted(there, key=lambda j: (j != row, -float(embeddings[row] @ embeddings[j]), j))


def definition(embeddings, cameras, how):
    n = len(embeddings)
    near = {own: [ranked(embeddings, cameras, i, own=own) for i in range(n)] for own in (True, False)}
    weights = np.zeros((n, n))
    for i in range(n):
        members = []
        for own, k in ((True, how.own_k1), (False, how.other_k1)):
            members += [j for j in near[own][i][:k] if i in near[own][j][:k]]
        values = np.exp([2 * float(embeddings[i] @ embeddings[j]) - 2 for j in members])
        weights[i, members] = values / values.sum()
    chosen = [near[True][i][: how.own_k2] + near[False][i][: how.other_k2] for i in range(n)]
    averaged = np.array([weights[rows].mean(axis=0) for rows in chosen])
    distances = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j and how.own_k1 == 1 and cameras[i] == cameras[j]:
                distances[i, j] = 1
            elif i != j:
                shared = np.minimum(averaged[i], averaged[j]).sum()
                distances[i, j] = 1 - shared / (2 - shared)
    return distances


@pytest.mark.parametrize(
    ("n", "cameras", "how"),
    [
        (60, 3, CameraAware(own_k1=5, other_k1=5, own_k2=2, other_k2=2)),
        (120, 2, CameraAware(own_k1=6, other_k1=21, own_k2=2, other_k2=4)),
        (50, 6, CameraAware(own_k1=20, other_k1=3, own_k2=1, other_k2=1)),  # cameras have fewer than 20 images
        (40, 1, CameraAware(own_k1=6, other_k1=5, own_k2=3, other_k2=3)),
        (2, 2, CameraAware(own_k1=1, other_k1=1, own_k2=1, other_k2=1)),
        (80, 2, CameraAware(own_k1=1, other_k1=3, own_k2=1, other_k2=2)),
    ],
)
def test_equals_the_definition(clustered_rows, dense, n, cameras, how):
    embeddings = clustered_rows(n, 16, seed=n, noise=0.8)
    of = np.random.default_rng(n).permutation(np.arange(n) % cameras)
    expected = definition(embeddings, of, how)
    found = camera_aware_distance(embeddings, of, settings=how)
    assert np.abs(dense(found) - expected).max() <= 1e-5
    near = camera_aware_distance(embeddings, of, settings=how, max_distance=0.5)
    assert np.all(near.data <= 0.5) and near.nnz == (dense(found) <= 0.5).sum()


def test_neighbours_that_are_known_are_not_searched_for_again(clustered_rows):
    embeddings, cameras = clustered_rows(90, 16, seed=5, noise=0.8), np.arange(90) % 3
    how = CameraAware(own_k1=3, other_k1=5, own_k2=2, other_k2=2)
    assert (how.doubled().own_k1, how.doubled().other_k2) == (6, 4)
    more = camera_neighbours(embeddings, cameras, own=6, other=10)
    found = camera_aware_distance(embeddings, cameras, settings=how, near=more)
    assert (found != camera_aware_distance(embeddings, cameras, settings=how)).nnz == 0


def one_picture_a_camera(n, cameras, *, noise, seed=0):
    """People with one picture on each camera."""
    generator = np.random.default_rng(seed)
    people = generator.standard_normal((n, 32))
    rows = (people[:, None] + noise * generator.standard_normal((n, cameras, 32))).reshape(-1, 32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), np.tile(np.arange(cameras), n)


def test_mutual_shares_equal_the_loop(clustered_rows):
    embeddings = clustered_rows(80, 8, seed=3, noise=0.6)
    cameras = np.arange(80) % 3
    lists = [ranked(embeddings, cameras, i, own=False)[:6] for i in range(80)]
    expected = [np.mean([i in lists[lists[i][k]][: k + 1] for i in range(80)]) for k in range(6)]
    found = mutual_shares(camera_neighbours(embeddings, cameras, own=1, other=6).other, most=6)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("cameras", "own", "other"), [(2, 1, 1), (3, 1, 2), (5, 1, 4)])
def test_people_with_one_picture_on_each_camera_get_no_more_neighbours(cameras, own, other):
    embeddings, of = one_picture_a_camera(150, cameras, noise=0.5)
    start = CameraAware(own_k1=5, other_k1=5, own_k2=2, other_k2=2, adapt=True)
    near = camera_neighbours(embeddings, of, own=5, other=5)
    found = fit_to_mutuality(near.other, of, settings=start)
    assert (found.own_k1, found.other_k1, found.own_k2, found.other_k2) == (own, other, 1, min(2, other))
    adapted = camera_aware_distance(embeddings, of, settings=start)
    assert (adapted != camera_aware_distance(embeddings, of, settings=found)).nnz == 0


@pytest.mark.parametrize("images", [100, 1000])
def test_people_with_many_pictures_and_strangers_change_nothing(clustered_rows, images):
    start = CameraAware(own_k1=5, other_k1=5, own_k2=2, other_k2=2, adapt=True)
    for embeddings in (clustered_rows(images, 24, seed=1, noise=0.7), clustered_rows(images, 24, seed=2, noise=50.0)):
        cameras = np.arange(images) % 2
        near = camera_neighbours(embeddings, cameras, own=5, other=5)
        assert fit_to_mutuality(near.other, cameras, settings=start) == replace(start, adapt=False)


def test_bad_input(clustered_rows):
    rows = clustered_rows(4, 8, seed=0)
    with pytest.raises(ValueError, match="expected at least 2 rows with a camera each, got 4, 3"):
        inspect.unwrap(camera_aware_distance)(rows, np.zeros(3, int), settings=CameraAware())
