import numpy as np
import pytest

from reidlib.labels.alignment import DIRECTIONS, align_cameras, centre_cameras, join_cues, whiten_cameras


def test_centring_equals_the_loop(people):
    embeddings, _, cameras = people(60)
    expected = []
    for row, camera in zip(embeddings, cameras, strict=True):
        shifted = row.astype(np.float64) - embeddings[cameras == camera].astype(np.float64).mean(axis=0)
        expected.append(shifted / np.linalg.norm(shifted))
    found = centre_cameras(embeddings, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n", [24, 200])  # fewer and more images of a camera than the embeddings are long
def test_whitening_equals_the_inverse_root_of_the_covariance(people, n):
    embeddings, _, cameras = people(n)
    found = whiten_cameras(embeddings, cameras)
    assert found.dtype == np.float32
    for camera in np.unique(cameras):
        rows = embeddings[cameras == camera].astype(np.float64)
        rows -= rows.mean(axis=0)
        covariance = rows.T @ rows / len(rows)
        values, vectors = np.linalg.eigh(covariance + np.eye(len(covariance)) * np.trace(covariance) / DIRECTIONS)
        expected = rows @ (vectors / np.sqrt(values)) @ vectors.T
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(found[cameras == camera], expected, atol=2e-5)


def test_whitening_takes_away_what_a_camera_adds_along_one_direction(people):
    embeddings, identities, cameras = people(400, noise=0.8)
    generator = np.random.default_rng(0)
    loud = generator.standard_normal((cameras.max() + 1, embeddings.shape[1]))
    disturbed = embeddings + 0.5 * generator.standard_normal((400, 1)) * loud[cameras]  # of each camera its own
    disturbed = (disturbed / np.linalg.norm(disturbed, axis=1, keepdims=True)).astype(np.float32)

    def right(rows):
        scores = np.where(cameras[:, None] == cameras, -2, rows @ rows.T)
        return (identities[scores.argmax(axis=1)] == identities).mean()

    assert right(whiten_cameras(disturbed, cameras)) > right(centre_cameras(disturbed, cameras)) + 0.1


@pytest.mark.parametrize("align", [centre_cameras, whiten_cameras])
def test_rows_without_a_direction_left_stay(people, align):
    embeddings, _, _ = people(8)
    cameras = np.array([0, 0, 0, 0, 0, 1, 2, 2])
    embeddings[7] = embeddings[6]
    before = embeddings.copy()
    found = align(embeddings, cameras)
    assert np.array_equal(found[5:], before[5:])
    assert np.array_equal(embeddings, before)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_choice(people):
    embeddings, _, cameras = people(40)
    assert np.array_equal(align_cameras(embeddings, cameras, alignment="none"), embeddings)
    for name, align in (("centre", centre_cameras), ("whiten", whiten_cameras)):
        assert np.array_equal(align_cameras(embeddings, cameras, alignment=name), align(embeddings, cameras))


def test_joined_cues_have_the_weighted_mean_of_the_cosines(people):
    (first, _, _), (second, _, _) = people(30), people(30, noise=2.0)
    found = join_cues(first, second[:, :5] / np.linalg.norm(second[:, :5], axis=1, keepdims=True), weight=0.5)
    cosines = [rows @ rows.T for rows in (first, second[:, :5] / np.linalg.norm(second[:, :5], axis=1, keepdims=True))]
    np.testing.assert_allclose(found @ found.T, (cosines[0] + 0.25 * cosines[1]) / 1.25, atol=1e-6)
