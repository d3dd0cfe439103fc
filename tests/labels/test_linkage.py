import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from reidlib.labels.linkage import average_linkage, best_number, linkage
from reidlib.labels.numbering import number_clusters
from reidlib.neighbours.jaccard import jaccard_distance


def dense_merges(dense: np.ndarray) -> np.ndarray:
    """scipy's merges below distance 1."""
    merges = hierarchy.linkage(squareform(dense.astype(np.float64)), method="average")
    return merges[merges[:, 2] < 1 - 1e-12]


def mean_distance(dense: np.ndarray, first: set[int], second: set[int]) -> float:
    return float(np.mean([[float(dense[i, j]) for j in second] for i in first]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 90), density=st.sampled_from([0.02, 0.1, 0.5, 1.0]))
def test_merges_are_scipys_below_distance_one(random_graph, seed, n, density):
    graph, dense = random_graph(n, density=density, seed=seed)
    np.testing.assert_allclose(average_linkage(graph), dense_merges(dense), atol=1e-9)


def test_merges_are_scipys_on_jaccard_distances(people):
    embeddings, _, _ = people(400, noise=1.2)
    graph = jaccard_distance(embeddings, k1=20, k2=4)
    dense = np.ones((400, 400))
    coo = sparse.coo_array(graph)
    dense[coo.coords] = coo.data
    found, expected = average_linkage(graph), dense_merges((dense + dense.T) / 2)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=1e-7)
    for clusters in (20, 40, 80):
        cut = np.asarray(hierarchy.cut_tree(hierarchy.linkage(squareform(dense), "average"), clusters))[:, 0]
        assert np.array_equal(linkage(graph, n_clusters=clusters), number_clusters(cut, smallest=2))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 25), density=st.sampled_from([0.1, 0.5, 1.0]))
def test_with_ties_every_merge_is_of_a_closest_pair(random_graph, seed, n, density):
    graph, dense = random_graph(n, density=density, seed=seed, levels=4)
    clusters = {i: {i} for i in range(n)}
    for row, (first, second, height, size) in enumerate(average_linkage(graph)):
        pairs = [(a, b) for a in clusters for b in clusters if a < b]
        closest = min(mean_distance(dense, clusters[a], clusters[b]) for a, b in pairs)
        one, other = clusters.pop(int(first)), clusters.pop(int(second))
        assert mean_distance(dense, one, other) == pytest.approx(height, abs=1e-9)
        assert height == pytest.approx(closest, abs=1e-9)
        clusters[n + row] = one | other
        assert size == len(one | other)
    for a in clusters:
        for b in clusters:
            assert a == b or mean_distance(dense, clusters[a], clusters[b]) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.floats(0.05, 0.95))
def test_distance_threshold_is_scipys_cut(random_graph, seed, threshold):
    graph, dense = random_graph(50, density=0.3, seed=seed)
    merges = hierarchy.linkage(squareform(dense.astype(np.float64)), method="average")
    expected = number_clusters(hierarchy.fcluster(merges, threshold, criterion="distance"), smallest=2)
    assert np.array_equal(linkage(graph, distance_threshold=threshold), expected)


def test_quantile_is_a_threshold_over_all_pairs(random_graph):
    graph, dense = random_graph(50, density=0.3, seed=5)
    threshold = float(np.quantile(dense[np.triu_indices(50, 1)].astype(np.float64), 0.05))
    assert np.array_equal(linkage(graph, quantile=0.05), linkage(graph, distance_threshold=threshold))


def test_n_clusters_stops_at_the_connected_components(random_graph):
    graph, _ = random_graph(40, density=0.02, seed=1)
    components, found = sparse.csgraph.connected_components(graph)
    assert components > 2
    assert np.array_equal(linkage(graph, n_clusters=2), number_clusters(found, smallest=2))


def test_images_per_cluster_is_a_number_of_clusters(random_graph):
    graph, _ = random_graph(43, density=1.0, seed=1)
    assert np.array_equal(linkage(graph, images_per_cluster=5), linkage(graph, n_clusters=8))
    assert np.array_equal(linkage(graph, images_per_cluster=100), linkage(graph, n_clusters=1))


def test_all_equal_rows_are_one_cluster():
    graph = sparse.csr_array((np.zeros(36, np.float32), np.tile(np.arange(6, dtype=np.int32), 6), np.arange(0, 37, 6)))
    assert linkage(graph, distance_threshold=0.5).tolist() == [0] * 6
    assert average_linkage(graph)[:, 2].tolist() == [0] * 5


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_merge(n):
    graph = sparse.csr_array((n, n), dtype=np.float32)
    assert average_linkage(graph).shape == (0, 4)
    assert linkage(graph, distance_threshold=0.5).tolist() == [-1] * n


def test_the_graph_is_left_as_it_was(random_graph):
    graph, _ = random_graph(40, density=0.5, seed=0)
    before = graph.copy()
    average_linkage(graph)
    assert np.array_equal(graph.indices, before.indices)
    assert np.array_equal(graph.data, before.data)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({}, "exactly one of"),
        ({"n_clusters": 3, "quantile": 0.1}, "exactly one of"),
        ({"n_clusters": 0}, "expected 1 to 10"),
        ({"n_clusters": 11}, "expected 1 to 10"),
        ({"quantile": -0.1}, "share in"),
    ],
)
def test_wrong_settings_are_refused(random_graph, given_settings, message):
    graph, _ = random_graph(10, density=0.5, seed=0)
    with pytest.raises(ValueError, match=message):
        linkage(graph, **given_settings)


def test_a_one_sided_graph_is_refused():
    one_sided = sparse.csr_array(([0.0, 0.5, 0.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="symmetric"):
        average_linkage(one_sided)


@pytest.mark.parametrize("noise", [0.4, 1.2])
def test_the_silhouette_finds_the_number_of_clusters(people, noise):
    embeddings, identities, _ = people(300, noise=noise)
    graph = jaccard_distance(embeddings, k1=12, k2=3)
    dense = np.ones((300, 300))
    coo = sparse.coo_array(graph)
    dense[coo.coords] = coo.data
    tree = hierarchy.linkage(squareform((dense + dense.T) / 2), "average")
    scores = {}
    for number in {round(300 / size) for size in np.geomspace(1.25, 50, 24)}:
        if tree[300 - number - 1, 2] < 1 - 1e-12:  # no merge at distance 1 is made
            cut = hierarchy.cut_tree(tree, number)[:, 0]
            scores[number] = silhouette_score(dense, cut, metric="precomputed")
    best = max(scores, key=lambda number: (scores[number], number))
    assert best == best_number(graph, average_linkage(graph))
    assert np.array_equal(linkage(graph, n_clusters="silhouette"), linkage(graph, n_clusters=best))
    if noise < 1:
        assert abs(best - len(np.unique(identities))) <= 0.2 * best


def test_where_there_is_nothing_to_merge_the_silhouette_leaves_all_apart():
    apart = sparse.csr_array((np.zeros(5, np.float32), (np.arange(5), np.arange(5))), shape=(5, 5))
    assert linkage(apart, n_clusters="silhouette").tolist() == [-1] * 5


def test_single_images_are_outliers_or_classes(random_graph):
    graph, _ = random_graph(40, density=0.1, seed=2)
    plain, kept = (linkage(graph, n_clusters=25, singletons=singles) for singles in ("outliers", "classes"))
    assert (plain < 0).any() and kept.min() == 0
    _, counts = np.unique(kept, return_counts=True)
    assert (counts == 1).sum() == (plain < 0).sum()
    assert np.array_equal(number_clusters(np.where(plain < 0, -1, kept)), plain)
