import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import DBSCAN

from reidlib.labels.dbscan import AUTO_EPS_RANGE, choose_eps, dbscan
from reidlib.neighbours.jaccard import jaccard_distance


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    density=st.sampled_from([0.03, 0.1, 0.4, 1.0]),
    levels=st.sampled_from([0, 5]),
    eps=st.sampled_from([0.1, 0.2, 0.4, 0.6, 0.95]),
    min_samples=st.integers(1, 6),
)
def test_labels_are_scikit_learns(random_graph, seed, n, density, levels, eps, min_samples):
    graph, dense = random_graph(n, density=density, seed=seed, levels=levels)
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense).labels_
    found = dbscan(graph, eps=eps, min_samples=min_samples)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def test_diagonal_may_be_left_out(random_graph):
    graph, _ = random_graph(40, density=0.3, seed=0)
    bare = graph.copy()
    bare.eliminate_zeros()
    assert np.array_equal(dbscan(bare, eps=0.3, min_samples=3), dbscan(graph, eps=0.3, min_samples=3))


def test_a_graph_cut_at_eps_gives_the_same_labels(people):
    embeddings, _, _ = people(200)
    whole = jaccard_distance(embeddings, k1=15, k2=4)
    cut = jaccard_distance(embeddings, k1=15, k2=4, max_distance=0.5)
    assert np.array_equal(dbscan(whole, eps=0.5, min_samples=4), dbscan(cut, eps=0.5, min_samples=4))


def test_eps_is_compared_as_float32():
    """Of float32(.3) and .3 the former is larger: a pair at .3 is within eps = .3."""
    graph = sparse.csr_array(np.float32([[0, 0.3], [0.3, 0]]))
    assert dbscan(graph, eps=0.3, min_samples=2).tolist() == [0, 0]
    assert dbscan(graph, eps=float(np.nextafter(np.float32(0.3), np.float32(0))), min_samples=2).tolist() == [-1, -1]


@pytest.mark.parametrize("cut", [True, False])
def test_the_dense_matrixs_labels_of_many_rows(people, cut):
    embeddings, _, _ = people(900, noise=1.1)
    graph = jaccard_distance(embeddings, k1=20, k2=4, max_distance=0.6 if cut else 1.0)
    dense = np.ones(graph.shape, np.float32)
    stored = graph.tocoo()
    dense[stored.coords] = stored.data
    expected = DBSCAN(eps=0.6, min_samples=4, metric="precomputed").fit(dense).labels_
    assert expected.max() > 10 and (expected < 0).any()
    before = graph.copy()
    assert np.array_equal(dbscan(graph, eps=0.6, min_samples=4), expected)
    assert np.array_equal(graph.data, before.data) and np.array_equal(graph.indices, before.indices)


@pytest.mark.parametrize(
    ("size", "noise"), [(60, 0.5), (60, 1.0), (400, 0.5), (400, 1.0)], ids=["tiny-clean", "tiny", "clean", "noisy"]
)
def test_auto_eps_finds_the_people_without_tuning(people, size, noise):
    embeddings, identities, _ = people(size, noise=noise)
    graph = jaccard_distance(embeddings, k1=min(20, size // 3), k2=4)
    eps = choose_eps(graph, min_samples=4)
    assert AUTO_EPS_RANGE[0] <= eps <= AUTO_EPS_RANGE[1]
    labels = dbscan(graph, eps="auto", min_samples=4)
    assert np.array_equal(labels, dbscan(graph, eps=eps, min_samples=4))
    assert abs(labels.max() + 1 - (identities.max() + 1)) <= 0.35 * (identities.max() + 1)


def test_auto_eps_of_unrelated_rows_is_the_upper_bound(random_graph):
    graph, _ = random_graph(20, density=0.0, seed=0)
    assert choose_eps(graph, min_samples=4) == AUTO_EPS_RANGE[1]
