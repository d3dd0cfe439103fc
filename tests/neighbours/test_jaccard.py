"""The sparse Jaccard distance against the six steps with sets, loops and dense matrices; invariants; bad input."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.neighbours import jaccard
from reidlib.neighbours.jaccard import jaccard_distance, jaccard_from_neighbours
from reidlib.neighbours.search import nearest


def check_invariants(matrix, n):
    assert matrix.shape == (n, n) and matrix.dtype == np.float32
    assert (matrix != matrix.T).nnz == 0  # to the bit
    assert np.all(matrix.diagonal() == 0)
    entries = matrix.tocoo()
    assert np.array_equal(entries.row[entries.data == 0], np.arange(n))
    assert np.array_equal(entries.col[entries.data == 0], np.arange(n))
    assert np.all(entries.data >= 0) and np.all(entries.data < 1)
    for i in range(n):
        columns = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
        assert np.all(np.diff(columns) > 0)


@pytest.mark.parametrize(
    ("n", "k1", "k2", "noise"),
    [(60, 20, 6, 0.5), (300, 30, 6, 0.3), (300, 30, 6, 1.5), (250, 15, 1, 0.7), (200, 9, 9, 0.7), (40, 39, 39, 1.0)],
)
def test_equals_the_definition(clustered_rows, oracle, dense, n, k1, k2, noise):
    embeddings = clustered_rows(n, 24, seed=n + k1, noise=noise)
    similarities, indices = nearest(embeddings, k=k1)
    expected = oracle(embeddings, indices, k2)
    for known in (None, similarities):
        matrix = jaccard_from_neighbours(embeddings, indices, k2=k2, similarities=known)
        check_invariants(matrix, n)
        assert np.abs(dense(matrix) - expected).max() <= 1e-5
        assert matrix.nnz == (expected < 1).sum()
    assert np.array_equal(dense(jaccard_distance(embeddings, k1=k1, k2=k2)), dense(matrix))


def test_equals_the_definition_on_a_thousand(clustered_rows, oracle, dense):
    embeddings = clustered_rows(1000, 32, seed=1, noise=0.8)
    _, indices = nearest(embeddings, k=20)
    matrix = jaccard_from_neighbours(embeddings, indices, k2=6)
    assert np.abs(dense(matrix) - oracle(embeddings, indices, 6)).max() <= 1e-5


@given(st.integers(2, 40), st.integers(0, 2**31), st.data())
@settings(max_examples=30, deadline=None)
def test_small_sets_with_duplicates(clustered_rows, oracle, dense, n, seed, data):
    k1 = data.draw(st.integers(1, n - 1))
    k2 = data.draw(st.integers(1, k1))
    embeddings = clustered_rows(n, 6, seed, noise=1.0, duplicates=data.draw(st.integers(0, n)))
    _, indices = nearest(embeddings, k=k1)
    matrix = jaccard_from_neighbours(embeddings, indices, k2=k2)
    check_invariants(matrix, n)
    assert np.abs(dense(matrix) - oracle(embeddings, indices, k2)).max() <= 1e-5


@pytest.mark.parametrize("max_distance", [0.0, 0.3, 0.6, 0.999])
def test_max_distance_keeps_the_rest_as_it_is(clustered_rows, dense, max_distance):
    embeddings = clustered_rows(300, 24, seed=2, noise=0.6, duplicates=30)
    everything = jaccard_distance(embeddings, k1=20, k2=6)
    matrix = jaccard_distance(embeddings, k1=20, k2=6, max_distance=max_distance)
    check_invariants(matrix, 300)
    full = dense(everything)
    full[full > max_distance] = 1
    assert np.array_equal(dense(matrix), full)


def test_duplicates_are_stored_though_they_are_no_distance_apart(clustered_rows, dense):
    embeddings = np.repeat(clustered_rows(20, 8, seed=3), 4, axis=0)
    matrix = jaccard_distance(embeddings, k1=4, k2=1)
    assert np.all(dense(matrix)[np.kron(np.eye(20), np.ones((4, 4))) > 0] < 1e-6)
    assert matrix.nnz >= 320 and (matrix.data == 0).sum() == 80


def test_all_rows_equal(clustered_rows):
    matrix = jaccard_distance(np.tile(clustered_rows(1, 8, seed=4), (30, 1)), k1=5, k2=2)
    check_invariants(matrix, 30)


def test_rows_that_outgrow_the_buffer(clustered_rows, monkeypatch):
    embeddings = clustered_rows(300, 24, seed=5, noise=1.5)
    expected = jaccard_distance(embeddings, k1=20, k2=6)
    monkeypatch.setattr(jaccard, "BUFFER_ENTRIES", 7)
    found = jaccard_distance(embeddings, k1=20, k2=6)
    assert np.array_equal(found.indices, expected.indices) and np.array_equal(found.data, expected.data)


def test_same_bits_for_any_number_of_threads(clustered_rows, monkeypatch):
    embeddings = clustered_rows(400, 24, seed=6, noise=1.0)
    expected = jaccard_distance(embeddings, k1=20, k2=6)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    found = jaccard_distance(embeddings, k1=20, k2=6)
    assert np.array_equal(found.indices, expected.indices) and np.array_equal(found.data, expected.data)


def test_order_of_the_rows_does_not_matter(clustered_rows, dense):
    embeddings = clustered_rows(200, 24, seed=7, noise=0.8)
    order = np.random.default_rng(8).permutation(200)
    shuffled = dense(jaccard_distance(embeddings[order], k1=15, k2=5))
    np.testing.assert_allclose(
        shuffled, dense(jaccard_distance(embeddings, k1=15, k2=5))[np.ix_(order, order)], atol=1e-6
    )


def test_two_rows(clustered_rows):
    embeddings = clustered_rows(2, 8, seed=9)
    assert jaccard_distance(embeddings, k1=1, k2=1).nnz == 2


def test_any_memory_layout(clustered_rows, dense, tmp_path):
    embeddings = clustered_rows(80, 16, seed=10)
    expected = dense(jaccard_distance(embeddings, k1=9, k2=3))
    np.save(tmp_path / "embeddings.npy", embeddings)
    mapped = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    assert np.array_equal(dense(jaccard_distance(mapped, k1=9, k2=3)), expected)
    assert np.array_equal(dense(jaccard_distance(np.asfortranarray(embeddings), k1=9, k2=3)), expected)
    halves = embeddings.astype(np.float16)
    assert np.array_equal(
        dense(jaccard_distance(halves, k1=9, k2=3)), dense(jaccard_distance(halves.astype(np.float32), k1=9, k2=3))
    )


def test_values_out_of_range_are_refused(clustered_rows):
    embeddings = clustered_rows(10, 8, seed=11)
    _, indices = nearest(embeddings, k=4)
    for n, k1 in ((10, 10), (10, 0), (1, 1), (0, 1)):
        with pytest.raises(ValueError, match=f"k1={k1} and n={n}"):
            jaccard_distance(embeddings[:n], k1=k1, k2=1)
    for k2 in (0, 5):
        with pytest.raises(ValueError, match=f"k1=4, got k2={k2}"):
            jaccard_from_neighbours(embeddings, indices, k2=k2)
    for max_distance in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="max_distance"):
            jaccard_from_neighbours(embeddings, indices, k2=2, max_distance=max_distance)


def test_neighbours_that_do_not_belong_are_refused(clustered_rows):
    embeddings = clustered_rows(10, 8, seed=12)
    similarities, indices = nearest(embeddings, k=4)
    with pytest.raises(ValueError, match="9 rows of neighbours for 10 embeddings"):
        jaccard_from_neighbours(embeddings, indices[:9], k2=2)
    with pytest.raises(ValueError, match=r"similarities \(10, 3\) do not belong to neighbours \(10, 4\)"):
        jaccard_from_neighbours(embeddings, indices, k2=2, similarities=np.ascontiguousarray(similarities[:, :3]))
    wrong = indices.copy()
    wrong[6] = wrong[6, ::-1]
    with pytest.raises(ValueError, match="row 6 is not its own first neighbour"):
        jaccard_from_neighbours(embeddings, wrong, k2=2)
    wrong[6, 1] = 10
    with pytest.raises(ValueError, match=r"rows 0\.\.9"):
        jaccard_from_neighbours(embeddings, wrong, k2=2)


@pytest.mark.parametrize("value", [np.nan, 0.0, 2.0])
def test_rows_that_are_not_unit_norm_are_refused(clustered_rows, value):
    embeddings = clustered_rows(30, 8, seed=13)
    _, indices = nearest(embeddings, k=4)
    embeddings[11] *= value
    with pytest.raises(ValueError, match="row 11 has"):
        jaccard_from_neighbours(embeddings, indices, k2=2)
    with pytest.raises(ValueError, match="row 11 has"):
        jaccard_distance(embeddings, k1=4, k2=2)
