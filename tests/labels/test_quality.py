import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score, silhouette_score

from reidlib.labels.quality import camera_span, label_quality, silhouette


def naive_quality(labels: list[int], identities: list[int]) -> dict[str, float]:
    """Pairs and rows, one at a time; each outlier a cluster of its own."""
    n = len(labels)
    clusters = [label if label >= 0 else f"outlier {i}" for i, label in enumerate(labels)]
    pairs = list(itertools.combinations(range(n), 2))
    same_cluster = [(i, j) for i, j in pairs if clusters[i] == clusters[j]]
    same_identity = [(i, j) for i, j in pairs if identities[i] == identities[j]]
    both = len(set(same_cluster) & set(same_identity))
    precision = both / len(same_cluster) if same_cluster else 0.0
    recall = both / len(same_identity) if same_identity else 0.0
    row_precision, row_recall = [], []
    for i in range(n):
        shared = sum(clusters[i] == clusters[j] and identities[i] == identities[j] for j in range(n))
        row_precision.append(shared / clusters.count(clusters[i]))
        row_recall.append(shared / identities.count(identities[i]))
    spread = [len({clusters[i] for i in range(n) if identities[i] == who}) for who in set(identities)]
    b_precision, b_recall = float(np.mean(row_precision)), float(np.mean(row_recall))
    return {
        "pairwise_precision": precision,
        "pairwise_recall": recall,
        "pairwise_f": 2 * precision * recall / (precision + recall) if both else 0.0,
        "bcubed_precision": b_precision,
        "bcubed_recall": b_recall,
        "bcubed_f": 2 * b_precision * b_recall / (b_precision + b_recall),
        "expansion": float(np.mean(spread)),
        "nmi": normalized_mutual_info_score(identities, [str(c) for c in clusters]),
        "clusters": len({label for label in labels if label >= 0}),
        "outlier_share": labels.count(-1) / n,
    }


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 4)), min_size=1, max_size=25))
def test_label_quality_equals_pairs_and_rows(rows):
    labels, identities = [a for a, _ in rows], [b for _, b in rows]
    found = label_quality(np.array(labels), np.array(identities))
    expected = naive_quality(labels, identities)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
        assert np.isfinite(found[name])


def test_perfect_labels_score_one():
    identities = np.array([9, 9, 4, 4, 4, 7])
    found = label_quality(np.array([0, 0, 1, 1, 1, 2]), identities)
    for name in ("pairwise_precision", "pairwise_recall", "pairwise_f", "bcubed_f", "expansion", "nmi"):
        assert found[name] == pytest.approx(1)


def test_labels_and_identities_must_match():
    with pytest.raises(ValueError, match="found 2 and 1"):
        inspect.unwrap(label_quality)(np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match="found 0 and 0"):
        label_quality(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_silhouette_is_scikit_learns_over_the_non_outliers(random_graph, seed, density):
    graph, dense = random_graph(40, density=density, seed=seed, levels=3 if seed == 5 else 0)
    labels = np.random.default_rng(seed).integers(-1, 6, 40)
    clustered = labels >= 0
    expected = silhouette_score(dense[clustered][:, clustered], labels[clustered], metric="precomputed")
    assert silhouette(graph, labels) == pytest.approx(expected, abs=1e-6)


def test_silhouette_counts_singletons_as_zero(random_graph):
    graph, dense = random_graph(20, density=0.8, seed=1)
    labels = np.array([0] * 9 + [1] * 10 + [2])
    assert silhouette(graph, labels) == pytest.approx(silhouette_score(dense, labels, metric="precomputed"), abs=1e-6)


def test_silhouette_needs_two_clusters(random_graph):
    graph, _ = random_graph(10, density=0.8, seed=1)
    with pytest.raises(ValueError, match="at least two clusters"):
        silhouette(graph, np.array([0] * 9 + [-1]))
    with pytest.raises(ValueError, match="one per row"):
        silhouette(graph, np.zeros(9, dtype=np.int32))


def test_camera_span_counts_clusters():
    assert camera_span(np.array([0, 0, 1, 1, 2, -1, -1]), np.array([0, 1, 2, 2, 1, 0, 1])) == pytest.approx(1 / 3)
    assert camera_span(np.array([-1, -1]), np.array([0, 1])) == 0
