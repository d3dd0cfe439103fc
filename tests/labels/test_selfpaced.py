import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from reidlib.labels.numbering import number_clusters
from reidlib.labels.selfpaced import independence_threshold, self_paced


def members(labels: np.ndarray, row: int) -> set[int]:
    return {row} if labels[row] < 0 else set(np.flatnonzero(labels == labels[row]).tolist())


def naive_self_paced(dense: np.ndarray, eps: float, min_samples: int, gap: float) -> np.ndarray:
    """The paper's criteria with sets and loops."""
    labels, tight, loose = (
        DBSCAN(eps=e, min_samples=min_samples, metric="precomputed").fit(dense).labels_
        for e in (eps, eps - gap, eps + gap)
    )
    rows = range(len(dense))

    def overlaps(other: np.ndarray) -> list[float]:
        return [len(members(labels, i) & members(other, i)) / len(members(labels, i) | members(other, i)) for i in rows]

    independent, compact = overlaps(loose), overlaps(tight)
    clusters = range(labels.max() + 1)
    best_independent = {c: max(independent[i] for i in rows if labels[i] == c) for c in clusters}
    best_compact = {c: max(compact[i] for i in rows if labels[i] == c) for c in clusters}
    scores = sorted((best_independent[c] for c in clusters if (labels == c).sum() > 1), reverse=True)
    alpha = scores[min(len(scores) - 1, round(len(scores) * 0.9))] if scores else 0.0
    kept = [
        labels[i] >= 0 and best_independent[labels[i]] >= alpha and compact[i] >= best_compact[labels[i]] for i in rows
    ]
    return number_clusters(np.where(kept, labels, -1))


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_naive_criteria(random_graph, seed):
    graph, dense = random_graph(60, density=0.1, seed=seed)
    found = self_paced(graph, eps=0.5, min_samples=3, gap=0.1)
    assert np.array_equal(found, naive_self_paced(dense, 0.5, 3, 0.1))


def test_threshold_lets_the_share_pass_and_ignores_singletons():
    scores, sizes = np.linspace(0.1, 1, 10), np.full(10, 5)
    assert (scores >= independence_threshold(scores, sizes, share=0.5)).sum() == 6
    assert independence_threshold(scores, np.ones(10, dtype=int), share=0.5) == 0


def test_no_cluster_stays_no_cluster(random_graph):
    graph, _ = random_graph(10, density=0.0, seed=0)
    assert (self_paced(graph, eps=0.5, min_samples=4) == -1).all()


def test_eps_must_leave_room_for_the_gap(random_graph):
    graph, _ = random_graph(10, density=0.5, seed=0)
    with pytest.raises(ValueError, match="eps ± gap"):
        self_paced(graph, eps=0.99, min_samples=4)
