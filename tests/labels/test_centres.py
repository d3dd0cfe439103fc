import numpy as np
import pytest
import torch

from reidlib.labels.centres import class_cameras, cluster_centres


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((30, 16)).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def test_centres_are_normalised_means_and_outliers_are_left_out(rows):
    labels = np.array([-1, 2, 0, 1, 0] * 6)
    means = np.stack([rows[labels == label].astype(np.float64).mean(axis=0) for label in range(3)])
    found = cluster_centres(rows, labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(cluster_centres(rows, labels, unit=False), means, atol=1e-6)


@pytest.mark.parametrize("width", [1, 7, 8, 100, 256])
def test_norms_are_summed_in_eight_lanes(width):
    """By loops over float32 numbers; where torch sums in eight lanes too, its norms are the same to the bit."""
    generator = np.random.default_rng(width)
    sums = generator.standard_normal((5, width)).astype(np.float32)
    for found, row in zip(cluster_centres(sums, np.arange(5)), sums, strict=True):
        lanes = np.zeros(8, np.float32)
        for place, value in enumerate(row):
            lanes[place % 8] += value * value
        total = np.float32(0)
        for lane in lanes:
            total += lane
        assert np.array_equal(found, row / np.sqrt(total))


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX2", reason="torch sums in other lanes")
def test_centres_are_those_of_torch_to_the_bit(rows):
    sums = torch.from_numpy(rows)
    expected = sums / torch.linalg.vector_norm(sums, dim=1, keepdim=True)
    assert np.array_equal(cluster_centres(rows, np.arange(30)), expected.numpy())


def test_clusters_without_a_centre_are_refused(rows):
    with pytest.raises(ValueError, match="at least one cluster"):
        cluster_centres(rows, np.full(30, -1))
    with pytest.raises(ValueError, match="cluster 1 has no member"):
        cluster_centres(rows, np.array([0, 0, 2] * 10))
    for wrong in (rows * 0, rows * np.float32("nan")):
        with pytest.raises(ValueError, match="finite norm above 0"):
            cluster_centres(wrong, np.zeros(30, int))


def test_cameras_of_clusters():
    labels = np.array([0, 0, 1, 2, -1, 2])
    found = class_cameras(labels, np.array([3, 3, 3, 5, 5, 5], np.int16))
    assert found.dtype == np.int64 and found.tolist() == [3, 3, 5]
    assert class_cameras(np.array([-1, -1]), np.array([3, 4])).tolist() == []
    with pytest.raises(ValueError, match=r"cluster 0 is on cameras \[0, 1\]"):
        class_cameras(np.zeros(4, int), np.array([0, 0, 1, 1]))
