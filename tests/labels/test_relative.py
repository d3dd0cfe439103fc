"""Distances as shares of the row's largest, against the published re-ranking of IIDS with dense arrays and loops."""

from dataclasses import replace

import numpy as np
import pytest

from reidlib.labels.clustering import cluster, distance_graph
from reidlib.neighbours.search import largest_distances, nearest


def published(rows, *, k1, k2, weight):
    """What it does with 1 - cosine: (the blended distances of the upper triangle, which pairs share a neighbour)."""
    original = 1 - rows.astype(np.float64) @ rows.T.astype(np.float64)
    original = original - original.min(axis=0)
    shares = (original / original.max(axis=0)).T
    n, order = len(rows), np.argsort(shares, axis=1, kind="stable")

    def mutual(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    weights = np.zeros((n, n))
    for i in range(n):
        near = mutual(i, k1)
        wide = set(near)
        for j in near:
            half = mutual(j, round(k1 / 2))
            if len(half & near) > 2 / 3 * len(half):
                wide |= half
        wide = sorted(wide)
        weights[i, wide] = np.exp(-shares[i, wide]) / np.exp(-shares[i, wide]).sum()
    weights = np.stack([weights[order[i, :k2]].mean(axis=0) for i in range(n)])
    overlap = np.array([[np.minimum(a, b).sum() for b in weights] for a in weights])
    blended = (1 - weight) * (1 - overlap / (2 - overlap)) + weight * shares
    upper = np.triu(blended, 1)
    return upper + upper.T, overlap > 0


@pytest.mark.parametrize(("k1", "k2", "weight"), [(8, 3, 0.3), (8, 1, 0.0), (5, 2, 1.0)])
def test_the_graph_is_that_of_the_published_code(people, labelling, k1, k2, weight):
    rows, _, _ = people(90)
    how = labelling("linkage", {"quantile": 0.02}, k1=k1 + 1, k2=k2, original_weight=weight)
    found = distance_graph(rows, None, replace(how, relative=True)).toarray()
    expected, shared = published(rows, k1=k1, k2=k2, weight=weight)
    shared &= ~np.eye(90, dtype=bool)
    np.testing.assert_allclose(found[shared], expected[shared], atol=2e-5)
    assert np.array_equal(found, found.T)
    absolute = distance_graph(rows, None, how).toarray()
    assert np.abs(absolute - found)[shared].max() > 0.01


def test_clusters_are_those_of_that_graph(people, labelling):
    rows, _, _ = people(90)
    how = replace(labelling("linkage", {"quantile": 0.05}, k1=9, k2=3, original_weight=0.3), relative=True)
    found = cluster(rows, nearest(rows, k=9), labelling=how, seed=0)
    np.testing.assert_array_equal(found.distances.toarray(), distance_graph(rows, None, how).toarray())


def test_the_largest_distance_is_that_of_a_loop_and_copies_have_one(people):
    rows, _, _ = people(70)
    expected = [max(np.square(one - other).sum() for other in rows) for one in rows]
    np.testing.assert_allclose(largest_distances(rows), expected, rtol=1e-4)
    assert largest_distances(np.tile(np.float32([1, 0, 0]), (5, 1))).tolist() == [1] * 5
