import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from reidlib.labels.dbscan import AUTO_EPS_RANGE, choose_eps, dbscan, resolve_eps
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


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({}, "exactly one of eps and quantile"),
        ({"eps": 0.5, "quantile": 0.1}, "exactly one of eps and quantile"),
        ({"eps": 0.0}, "in \\(0, 1\\), found 0.0"),
        ({"eps": 1.0}, "in \\(0, 1\\), found 1.0"),
        ({"eps": float("nan")}, "found nan"),
        ({"quantile": 1.2}, "share in"),
        ({"eps": 0.5, "min_samples": 0}, "min_samples: expected at least 1"),
    ],
)
def test_wrong_settings_are_refused(random_graph, given_settings, message):
    graph, _ = random_graph(10, density=0.5, seed=0)
    with pytest.raises(ValueError, match=message):
        dbscan(graph, **({"min_samples": 4} | given_settings))


def test_quantile_is_the_quantile_of_all_pairs(random_graph):
    graph, dense = random_graph(30, density=0.5, seed=2)
    expected = np.quantile(dense[np.triu_indices(30, 1)].astype(np.float64), 0.1)
    assert resolve_eps(graph, min_samples=4, quantile=0.1) == pytest.approx(expected)
    assert 0 < resolve_eps(graph, min_samples=4, quantile=1.0) < 1


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
