import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.numbering import number_clusters
from reidlib.labels.refinement import information_scores, refine


def naive_scores(similarities: np.ndarray, indices: np.ndarray, min_similarity: float) -> list[float]:
    links = [
        [1 - float(s) for s, j in zip(row, others, strict=True) if j != i and s >= min_similarity]
        for i, (row, others) in enumerate(zip(similarities, indices, strict=True))
    ]
    every = [d for row in links for d in row]
    mean = sum(every) / len(every) if every else 0.0
    return [sum(1 / (d + mean) for d in row) for row in links]


def naive_refine(labels, local, cameras, scores, nodes) -> np.ndarray:
    """The definition, one information node at a time; removals are judged on the labels as they were."""
    mean = np.mean(scores)
    refined = labels.copy()
    for cluster in range(labels.max() + 1):
        information = [i for i in range(len(labels)) if labels[i] == cluster and scores[i] > mean]
        if nodes == "one":
            information = information[-1:]
        for node in information:
            if local[node] < 0:
                continue
            for other in range(len(labels)):
                if labels[other] == cluster and cameras[other] == cameras[node] and local[other] != local[node]:
                    refined[other] = -1
    return number_clusters(refined)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_loop(seed):
    generator = np.random.default_rng(seed)
    similarities = -np.sort(-generator.random((25, 6)), axis=1).astype(np.float32)
    indices = np.column_stack([np.arange(25), generator.integers(0, 25, (25, 5))]).astype(np.int32)
    found = information_scores(similarities, indices, min_similarity=0.5)
    np.testing.assert_allclose(found, naive_scores(similarities, indices, 0.5))


def test_scores_without_links_and_of_copies():
    indices = np.array([[0, 1], [1, 0]], dtype=np.int32)
    assert information_scores(np.array([[1, 0.2], [1, 0.2]]), indices, min_similarity=0.5).tolist() == [0, 0]
    assert information_scores(np.ones((2, 2)), indices, min_similarity=0.5).tolist() == [1, 1]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), nodes=st.sampled_from(["one", "all"]))
def test_refinement_equals_the_loop(seed, n, nodes):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 5, n).astype(np.int32)
    cameras = generator.integers(0, 3, n).astype(np.int32)
    local = np.where(generator.random(n) < 0.2, -1, cameras * 4 + generator.integers(0, 3, n)).astype(np.int32)
    scores = generator.random(n)
    found = refine(labels, local, cameras, scores, nodes=nodes)
    assert np.array_equal(found, naive_refine(labels, local, cameras, scores, nodes))


def test_last_information_node_of_the_cluster_is_the_one():
    labels, cameras = np.zeros(4, dtype=np.int32), np.array([0, 0, 1, 1])
    local, scores = np.array([0, 1, 2, 3]), np.array([5.0, 0.0, 5.0, 0.0])
    assert refine(labels, local, cameras, scores, nodes="one").tolist() == [0, 0, 0, -1]
    assert refine(labels, local, cameras, scores, nodes="all").tolist() == [0, -1, 0, -1]


def test_unknown_nodes_and_no_rows():
    nothing = np.empty(0, dtype=np.int32)
    assert refine(nothing, nothing, nothing, np.empty(0), nodes="all").tolist() == []
    with pytest.raises((ValueError, TypeError)):
        refine(nothing, nothing, nothing, np.empty(0), nodes="some")
