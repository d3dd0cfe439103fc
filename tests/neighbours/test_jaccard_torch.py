"""The torch version against the definition and against the numba version; the same on every run and device."""

import numpy as np
import pytest
import torch

from reidlib.neighbours import jaccard_torch
from reidlib.neighbours.jaccard import jaccard_distance, jaccard_from_neighbours
from reidlib.neighbours.jaccard_torch import jaccard_from_neighbours_on_device
from reidlib.neighbours.search import nearest


@pytest.mark.parametrize("block", [1 << 24, 1 << 11])
@pytest.mark.parametrize(
    ("n", "k1", "k2", "noise", "duplicates"),
    [(60, 20, 6, 0.5, 0), (250, 30, 6, 1.5, 60), (200, 15, 1, 0.7, 0), (40, 39, 39, 1.0, 10), (2, 1, 1, 1.0, 0)],
)
def test_equals_the_definition_and_the_numba_version(
    clustered_rows, oracle, dense, n, k1, k2, noise, duplicates, block, monkeypatch
):
    monkeypatch.setattr(jaccard_torch, "BLOCK_ENTRIES", block)
    embeddings = clustered_rows(n, 24, seed=n + k1, noise=noise, duplicates=duplicates)
    found = jaccard_distance(torch.from_numpy(embeddings), k1=k1, k2=k2)
    expected = oracle(embeddings, nearest(embeddings, k=k1).indices, k2)
    assert np.abs(dense(found) - expected).max() <= 1e-5
    other = jaccard_distance(embeddings, k1=k1, k2=k2)
    assert np.array_equal(found.indptr, other.indptr) and np.array_equal(found.indices, other.indices)
    np.testing.assert_allclose(found.data, other.data, atol=1e-5)
    assert (found != found.T).nnz == 0
    assert np.array_equal(np.flatnonzero(found.data == 0), np.flatnonzero(other.data == 0))


def test_max_distance_keeps_the_rest_as_it_is(clustered_rows, dense):
    embeddings = torch.from_numpy(clustered_rows(300, 24, seed=1))
    full = dense(jaccard_distance(embeddings, k1=20, k2=6))
    full[full > 0.6] = 1
    assert np.array_equal(dense(jaccard_distance(embeddings, k1=20, k2=6, max_distance=0.6)), full)


def test_bad_input_is_refused(clustered_rows):
    embeddings = torch.from_numpy(clustered_rows(20, 8, seed=2))
    _, indices = nearest(embeddings, k=5)
    for n, k1 in ((20, 20), (20, 0), (0, 1)):
        with pytest.raises(ValueError, match=f"k1={k1} and n={n}"):
            jaccard_distance(embeddings[:n], k1=k1, k2=1)
    with pytest.raises(ValueError, match="k2=6"):
        jaccard_from_neighbours(embeddings, indices, k2=6)
    with pytest.raises(ValueError, match="max_distance"):
        jaccard_from_neighbours(embeddings, indices, k2=1, max_distance=2.0)
    with pytest.raises(ValueError, match="first neighbour"):
        jaccard_from_neighbours(embeddings, indices.flip(1), k2=1)
    for value in (0.0, float("nan"), 2.0):
        wrong = embeddings.clone()
        wrong[3] *= value
        with pytest.raises(ValueError, match="norm 1"):
            jaccard_from_neighbours(wrong, indices, k2=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_gives_the_same_twice_and_agrees_with_the_cpu(clustered_rows, dense):
    embeddings = torch.from_numpy(clustered_rows(2000, 64, seed=3))
    _, indices = nearest(embeddings, k=20)
    cpu = jaccard_from_neighbours(embeddings, indices, k2=6)
    one = jaccard_from_neighbours_on_device(embeddings.cuda(), indices.cuda(), k2=6, max_distance=1.0)
    two = jaccard_from_neighbours_on_device(embeddings.cuda(), indices.cuda(), k2=6, max_distance=1.0)
    assert torch.equal(one.values, two.values) and torch.equal(one.columns, two.columns)
    gpu = jaccard_from_neighbours(embeddings.cuda(), indices.cuda(), k2=6)
    np.testing.assert_allclose(dense(gpu), dense(cpu), atol=1e-5)
