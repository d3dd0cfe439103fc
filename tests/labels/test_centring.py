import numpy as np

from reidlib.labels.centring import centre_cameras


def test_equals_the_loop(people):
    embeddings, _, cameras = people(60)
    expected = []
    for row, camera in zip(embeddings, cameras, strict=True):
        shifted = row.astype(np.float64) - embeddings[cameras == camera].astype(np.float64).mean(axis=0)
        expected.append(shifted / np.linalg.norm(shifted))
    found = centre_cameras(embeddings, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_without_a_direction_left_stay(people):
    embeddings, _, _ = people(8)
    cameras = np.array([0, 0, 0, 0, 0, 1, 2, 2])
    embeddings[7] = embeddings[6]
    before = embeddings.copy()
    found = centre_cameras(embeddings, cameras)
    assert np.array_equal(found[5:], before[5:])
    assert np.array_equal(embeddings, before)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
