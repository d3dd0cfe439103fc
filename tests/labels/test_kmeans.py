import numpy as np
import pytest

from reidlib.labels.kmeans import kmeans
from reidlib.labels.quality import label_quality


def test_finds_the_people_and_repeats_itself(people):
    embeddings, identities, _ = people(200, noise=0.3)
    found = kmeans(embeddings, seed=0, n_clusters=20)
    assert label_quality(found, identities)["bcubed_f"] > 0.75
    assert np.array_equal(found, kmeans(embeddings, seed=0, n_clusters=20))
    assert np.array_equal(found, kmeans(embeddings, seed=0, images_per_cluster=10))
    assert found.min() == 0
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))


def test_centres_are_local_optima(people):
    """No row is closer to another cluster's centre than to its own, but for the last assignment's move."""
    embeddings, _, _ = people(200, noise=0.3)
    found = kmeans(embeddings, seed=1, n_clusters=10, iterations=50)
    centres = np.stack([embeddings[found == c].mean(axis=0) for c in range(found.max() + 1)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    assert np.mean((embeddings @ centres.T).argmax(axis=1) == found) > 0.98


def test_float16_and_strided_rows_are_taken(people):
    embeddings, _, _ = people(100, noise=0.3)
    strided = np.asfortranarray(embeddings)
    assert np.array_equal(kmeans(strided, seed=0, n_clusters=8), kmeans(embeddings, seed=0, n_clusters=8))
    assert len(kmeans(embeddings.astype(np.float16), seed=0, n_clusters=8)) == 100


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({}, "exactly one of"),
        ({"n_clusters": 3, "images_per_cluster": 2}, "exactly one of"),
        ({"n_clusters": 0}, "expected 1 to 20"),
        ({"n_clusters": 21}, "expected 1 to 20"),
    ],
)
def test_wrong_settings_are_refused(people, given_settings, message):
    with pytest.raises(ValueError, match=message):
        kmeans(people(20)[0], seed=0, **given_settings)


def test_nan_is_refused(people):
    embeddings = people(20)[0].copy()
    embeddings[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        kmeans(embeddings, seed=0, n_clusters=2)
