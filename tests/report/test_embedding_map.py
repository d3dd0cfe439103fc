"""The map: neighbours stay neighbours, the same seed gives the same map, few images need no UMAP."""

import sys

import numpy as np
import pytest

from reidlib.report.embedding_map import FEWEST, embedding_map


def groups(n, seed=0):
    generator = np.random.default_rng(seed)
    who = np.arange(n) % 6
    rows = np.eye(12)[who] + 0.1 * generator.normal(size=(n, 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), who


@pytest.mark.slow  # umap-learn compiles for ten seconds
@pytest.mark.parametrize("n", [FEWEST + 20, FEWEST - 20])
def test_what_is_near_lies_near_and_twice_the_same(n):
    embeddings, who = groups(n)
    places = embedding_map(embeddings, seed=1, neighbours=10)
    assert places.shape == (n, 2) and places.dtype == np.float32
    assert places.min() == 0 and places.max() == 1
    far = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(n)
    kept = (who[far.argmin(axis=1)] == who).mean()
    assert kept == 1 if n >= FEWEST else kept > 0.5  # two components cannot part six groups
    assert np.array_equal(places, embedding_map(embeddings, seed=1, neighbours=10))


def test_two_components_are_those_of_the_covariance():
    embeddings, _ = groups(20)
    places = embedding_map(embeddings, seed=1, neighbours=10)
    centred = embeddings - embeddings.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(centred.T))
    for column in (0, 1):
        expected = centred @ directions[:, -1 - column]
        assert abs(np.corrcoef(places[:, column], expected)[0, 1]) > 0.9999


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_images(n):
    places = embedding_map(np.eye(4, dtype=np.float32)[:n], seed=1, neighbours=10)
    assert places.shape == (n, 2) and ((places >= 0) & (places <= 1)).all()
    assert n != 1 or places.tolist() == [[0.5, 0.5]]


def test_importing_the_module_loads_no_umap():
    import subprocess

    code = "import sys, reidlib.report.embedding_map; print('umap' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
