"""Approximate neighbours: rows come first, the recall is what a comparison with the exact search gives."""

import numpy as np
import pytest

from reidlib.neighbours.approximate import nearest_approximately
from reidlib.neighbours.search import nearest


def unit_rows(n, d, seed):
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_all_lists_find_all_neighbours():
    rows = unit_rows(500, 16, seed=1)
    found = nearest_approximately(rows, k=10, probes=1000)
    assert found.recall == 1
    assert np.array_equal(np.sort(found.indices, axis=1), np.sort(nearest(rows, k=10)[1], axis=1))


def test_recall_is_measured_and_rows_come_first():
    rows = unit_rows(2000, 16, seed=2)
    rows[5] = rows[3]
    found = nearest_approximately(rows, k=10, probes=2, sample=2000)
    exact = nearest(rows, k=10)[1]
    share = np.mean([len(set(a) & set(b)) for a, b in zip(found.indices.tolist(), exact.tolist(), strict=True)]) / 10
    assert 0.1 < found.recall < 1 and found.recall == pytest.approx(share, abs=0.01)
    assert np.array_equal(found.indices[:, 0], np.arange(2000))
    assert found.indices.min() >= 0 and np.all(np.diff(found.similarities[:, 1:], axis=1) <= 0)
    again = nearest_approximately(rows, k=10, probes=2, sample=2000)
    assert np.array_equal(found.indices, again.indices)


def test_lists_with_too_few_rows_are_made_up_for():
    rows = unit_rows(400, 8, seed=3)
    assert nearest_approximately(rows, k=200, probes=1).indices.min() >= 0


def test_bad_input_is_refused():
    rows = unit_rows(40, 8, seed=4)
    for settings in ({"k": 41}, {"k": 0}, {"k": 5, "probes": 0}):
        with pytest.raises(ValueError, match="nearest"):
            nearest_approximately(rows, **settings)
    rows[3] = 0
    with pytest.raises(ValueError, match="row 3"):
        nearest_approximately(rows, k=5)
