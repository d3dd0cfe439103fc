import numpy as np
import pytest
from scipy import sparse

from reidlib.labels.graphs import block_diagonal, graph_arrays, kth_distances, pair_quantile


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_kth_distances_equal_the_sorted_dense_rows(random_graph, seed, density):
    graph, dense = random_graph(30, density=density, seed=seed)
    for k in (1, 2, 4, 30):
        assert np.array_equal(kth_distances(graph, k=k), np.sort(dense, axis=1)[:, k - 1])


def test_kth_distances_refuse_k_below_one(random_graph):
    with pytest.raises(ValueError, match="k: expected at least 1"):
        kth_distances(random_graph(5, density=1, seed=0)[0], k=0)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
def test_pair_quantile_equals_numpy_over_all_pairs(random_graph, density):
    graph, dense = random_graph(25, density=density, seed=1)
    pairs = dense[np.triu_indices(25, 1)].astype(np.float64)
    for quantile in (0, 0.0025, 0.03, 0.051, 0.5, 0.9, 1):
        assert pair_quantile(graph, quantile=quantile) == pytest.approx(np.quantile(pairs, quantile), abs=1e-7)


def test_pair_quantile_refuses_what_has_no_quantile(random_graph):
    graph, _ = random_graph(5, density=1, seed=0)
    with pytest.raises(ValueError, match="share in"):
        pair_quantile(graph, quantile=1.5)
    with pytest.raises(ValueError, match="at least two rows"):
        pair_quantile(graph[:1, :1], quantile=0.5)


def test_graph_arrays_refuse_what_is_no_distance(random_graph):
    graph, _ = random_graph(5, density=1, seed=0)
    with pytest.raises(ValueError, match="square"):
        graph_arrays(graph[:3])
    for wrong in (np.nan, -0.1, 1.5):
        broken = graph.copy()
        broken.data[3] = wrong
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            graph_arrays(broken)


def test_read_only_arrays_are_taken_as_they_are(random_graph):
    graph, dense = random_graph(20, density=0.5, seed=3)
    for array in (graph.data, graph.indices, graph.indptr):
        array.flags.writeable = False
    assert np.array_equal(kth_distances(graph, k=3), np.sort(dense, axis=1)[:, 2])


def test_block_diagonal_places_each_block(random_graph):
    first, first_dense = random_graph(4, density=0.6, seed=0)
    second, second_dense = random_graph(3, density=0.6, seed=1)
    rows = (np.array([1, 3, 4, 8]), np.array([0, 5, 7]))
    whole = block_diagonal(9, [(rows[0], first), (rows[1], second)])
    expected = np.ones((9, 9), dtype=np.float32)
    np.fill_diagonal(expected, 0)
    expected[np.ix_(rows[0], rows[0])] = first_dense
    expected[np.ix_(rows[1], rows[1])] = second_dense
    found = np.ones((9, 9), dtype=np.float32)
    coo = sparse.coo_array(whole)
    found[coo.coords] = coo.data
    assert np.array_equal(found, expected)
    assert whole.has_sorted_indices
    assert whole.dtype == np.float32
    assert block_diagonal(0, []).shape == (0, 0)
