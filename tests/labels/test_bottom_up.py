import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from reidlib.labels.bottom_up import bottom_up
from reidlib.labels.numbering import number_clusters
from reidlib.labels.quality import label_quality
from reidlib.neighbours.jaccard import jaccard_distance


def naive_round(dense, clusters, size_weight, merges):
    """The paper's round with sets: pairs of clusters by smallest distance and sizes, merged in that order."""
    pairs = []
    for a, b in itertools.combinations(range(len(clusters)), 2):
        smallest = min(dense[i, j] for i in clusters[a] for j in clusters[b])
        if smallest < 1:
            pairs.append((smallest + size_weight * (len(clusters[a]) + len(clusters[b])), a, b))
    joined = [{number} for number in range(len(clusters))]
    for _, a, b in sorted(pairs):
        one, other = (next(group for group in joined if number in group) for number in (a, b))
        if one is not other and merges:
            joined.remove(other)
            one |= other
            merges -= 1
    return [set().union(*(clusters[number] for number in group)) for group in joined]


def as_clusters(labels):
    groups = {label: set(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()) - {-1}}
    return [*groups.values(), *({row} for row in np.flatnonzero(labels < 0).tolist())]


def as_labels(clusters, n):
    labels = np.empty(n, dtype=np.int64)
    for number, rows in enumerate(clusters):
        labels[list(rows)] = number
    return number_clusters(labels, smallest=2)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 30),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    merge_share=st.sampled_from([0.05, 0.1, 0.3]),
    size_weight=st.sampled_from([0.0, 0.003, 0.1]),
)
def test_a_round_is_the_papers(random_graph, seed, n, density, merge_share, size_weight):
    graph, dense = random_graph(n, density=density, seed=seed)
    previous = number_clusters(np.random.default_rng(seed).integers(-3, n // 2 + 1, n))
    clusters = as_clusters(previous)
    merges = max(0, min(max(1, round(merge_share * n)), round(0.95 * n) - (n - len(clusters))))
    expected = as_labels(naive_round(dense.astype(np.float64), clusters, size_weight, merges), n)
    found = bottom_up(graph, previous=previous, merge_share=merge_share, size_weight=size_weight)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("start_share", [0.0, 0.3, 0.52])
def test_the_start_is_rounds_one_after_the_other(random_graph, start_share):
    graph, dense = random_graph(50, density=0.4, seed=1)
    clusters, left = [{row} for row in range(50)], round(start_share * 50)
    while left:
        merges = min(5, left)
        clusters, left = naive_round(dense.astype(np.float64), clusters, 0.01, merges), left - merges
    found = bottom_up(graph, merge_share=0.1, size_weight=0.01, start_share=start_share)
    assert np.array_equal(found, as_labels(clusters, 50))


def test_ties_are_made_as_often_as_asked_and_the_same_each_time(random_graph):
    graph, _ = random_graph(60, density=1.0, seed=2, levels=3)
    found = bottom_up(graph, start_share=0.5, size_weight=0.0)
    assert len(as_clusters(found)) == 30
    assert np.array_equal(found, bottom_up(graph.copy(), start_share=0.5, size_weight=0.0))


def test_sizes_hold_the_largest_cluster_back(random_graph):
    graph, _ = random_graph(200, density=1.0, seed=3)
    largest = [np.bincount(bottom_up(graph, size_weight=weight) + 1)[1:].max() for weight in (0.0, 0.1)]
    assert largest[1] < largest[0]


def test_rounds_find_the_people_and_end(people):
    embeddings, identities, _ = people(200, noise=0.6)
    graph = jaccard_distance(embeddings, k1=15, k2=4)
    labels, counts, quality = None, [], []
    for _ in range(12):
        before, labels = labels, bottom_up(graph, previous=labels, end_share=0.85)
        counts.append(len(as_clusters(labels)))
        quality.append(label_quality(labels, identities)["bcubed_f"])
        if before is not None:
            for label in range(before.max() + 1):  # clusters only grow
                assert len(set(labels[before == label].tolist())) == 1
    assert counts[:9] == [100, 90, 80, 70, 60, 50, 40, 30, 30] and set(counts[8:]) == {30}
    assert quality[0] < quality[4] < quality[-1] and quality[-1] > 0.8


def test_many_pairs_between_two_clusters_do_not_hide_the_others():
    dense = np.ones((42, 42), dtype=np.float32)
    dense[:20, 20:40] = np.linspace(0.1, 0.2, 400).reshape(20, 20)
    dense[40, 41] = 0.3
    dense = np.minimum(dense, dense.T) - np.diag(np.diag(dense))
    previous = np.repeat([0, 1, -1], [20, 20, 2])
    found = bottom_up(sparse.csr_array(np.where(dense < 1, dense, 0)), previous=previous, size_weight=0.0)
    assert found.tolist() == [0] * 40 + [1] * 2


def test_nothing_stored_nothing_merged(random_graph):
    graph, _ = random_graph(10, density=0.0, seed=0)
    assert (bottom_up(graph) == -1).all()
    previous = np.array([0, 0, 1, 1, 1, -1, -1, -1, -1, -1])
    assert bottom_up(graph, previous=previous).tolist() == previous.tolist()


def test_previous_labels_are_of_the_same_rows(random_graph):
    graph, _ = random_graph(10, density=0.5, seed=0)
    with pytest.raises(ValueError, match="previous labels of the 10 rows, found 9"):
        bottom_up(graph, previous=np.zeros(9, dtype=np.int32))
