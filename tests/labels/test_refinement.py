"""Refinement by local clusters against loops over the information nodes."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.numbering import number_clusters
from reidlib.labels.refinement import information_scores, refine_by_all, refine_by_one, refined_clusters
from reidlib.neighbours.search import Neighbours, nearest

LABELLING = GlobalLabelling(
    k1=15, k2=4, original_weight=0.0, method={"name": "linkage", "n_clusters": 30}, camera_similarity=0.0, nodes="one",
    link_k=10, link_min_similarity=0.4, camera_alignment="none", colour_weight=0.0, camera_aware=None,
)  # fmt: skip


def naive_scores(similarities: np.ndarray, indices: np.ndarray, min_similarity: float) -> list[float]:
    """The published code: the mean is of all distances, to oneself and of pairs without a link too."""
    rows = list(enumerate(zip(similarities.tolist(), indices.tolist(), strict=True)))
    every = [max(1 - s, 0) for _, (row, _) in rows for s in row]
    mean = sum(every) / len(every)
    return [
        sum(1 / (1 - s + mean) for s, j in zip(row, others, strict=True) if j != i and s >= min_similarity)
        for i, (row, others) in rows
    ]


def naive_refine(labels, local, cameras, scores, communities=None) -> np.ndarray:
    """The definition, one information node at a time: all of each cluster, or the last of each community in turn."""
    mean, refined = np.mean(scores), labels.copy()
    groups = labels if communities is None else communities
    for group in dict.fromkeys(label for label in groups.tolist() if label >= 0):
        nodes = [i for i in range(len(labels)) if groups[i] == group and scores[i] > mean]
        for node in nodes if communities is None else nodes[-1:]:
            if local[node] < 0 or (communities is not None and refined[node] < 0):
                continue
            for other in range(len(labels)):
                if labels[other] == labels[node] and cameras[other] == cameras[node] and local[other] != local[node]:
                    refined[other] = -1
    return number_clusters(refined)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_loop(seed):
    generator = np.random.default_rng(seed)
    similarities = -np.sort(-generator.random((25, 6)), axis=1).astype(np.float32)
    indices = np.column_stack([np.arange(25), generator.integers(0, 25, (25, 5))]).astype(np.int32)
    for links in (6, 4):
        found = information_scores(Neighbours(similarities, indices), links=links, min_similarity=0.5)
        np.testing.assert_allclose(found, naive_scores(similarities[:, :links], indices[:, :links], 0.5), rtol=1e-6)


def test_scores_without_links_and_of_copies():
    indices = np.array([[0, 1], [1, 0]], dtype=np.int32)
    far, copies = (Neighbours(np.float32([[1, value], [1, value]]), indices) for value in (0.2, 1))
    assert information_scores(far, links=2, min_similarity=0.5).tolist() == [0, 0]
    assert information_scores(copies, links=2, min_similarity=0.5).tolist() == [1, 1]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_refinement_equals_the_loop(seed, n):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 5, n).astype(np.int32)
    cameras = generator.integers(0, 3, n).astype(np.int32)
    local = np.where(generator.random(n) < 0.2, -1, cameras * 4 + generator.integers(0, 3, n)).astype(np.int32)
    scores, communities = generator.random(n), generator.integers(-1, 6, n).astype(np.int32)
    assert np.array_equal(refine_by_all(labels, local, cameras, scores), naive_refine(labels, local, cameras, scores))
    found = refine_by_one(labels, local, cameras, scores, communities=communities)
    assert np.array_equal(found, naive_refine(labels, local, cameras, scores, communities))


def test_the_last_node_of_a_community_acts_unless_it_was_removed_before():
    labels, cameras = np.zeros(5, dtype=np.int32), np.array([0, 0, 0, 1, 1])
    local, scores = np.array([0, 1, 1, 2, 3]), np.array([5.0, 5.0, 5.0, 0.0, 0.0])
    assert refine_by_all(labels, local, cameras, scores).tolist() == [-1, -1, -1, 0, 0]
    together = refine_by_one(labels, local, cameras, scores, communities=np.zeros(5, np.int32))
    assert together.tolist() == [-1, 0, 0, 0, 0]  # row 2 alone
    apart = refine_by_one(labels, local, cameras, scores, communities=np.array([0, 1, 1, 0, 0]))
    assert apart.tolist() == [0, -1, -1, 0, 0]  # row 0 first, which removes row 2


def test_one_node_of_each_of_infomaps_clusters_acts_whatever_made_the_clusters(people):
    embeddings, identities, cameras = people(200, noise=1.2)
    near, local = nearest(embeddings, k=10), number_clusters(identities * 3 + cameras)
    clusters = number_clusters(identities // 2)  # each holds two people
    scores = information_scores(near, links=10, min_similarity=0.4)
    for method, communities in (
        ({"name": "linkage", "n_clusters": 30}, infomap(near, seed=3, k1=10, min_similarity=0.4)),
        ({"name": "infomap"}, clusters),
    ):
        found = refined_clusters(clusters, local, cameras, near, labelling=replace(LABELLING, method=method), seed=3)
        expected = naive_refine(clusters, local, cameras, scores, communities)
        assert np.array_equal(found, expected) and not np.array_equal(found, clusters)
    every = refined_clusters(clusters, local, cameras, near, labelling=replace(LABELLING, nodes="all"), seed=3)
    assert np.array_equal(every, naive_refine(clusters, local, cameras, scores))


def test_links_count_the_image_itself_as_infomaps_do():
    """Of three copies in a row, link_k = 2 reaches one other: 14 for the published 15."""
    near = Neighbours(np.ones((3, 3), np.float32), np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]], np.int32))
    assert information_scores(near, links=2, min_similarity=0.5).tolist() == [1, 1, 1]


def test_no_rows_and_parts_of_different_lengths():
    nothing = np.empty(0, dtype=np.int32)
    assert refine_by_all(nothing, nothing, nothing, np.empty(0)).tolist() == []
    assert refine_by_one(nothing, nothing, nothing, np.empty(0), communities=nothing).tolist() == []
    with pytest.raises(ValueError, match=r"of the same rows, found \[0, 0, 1, 0\]"):
        inspect.unwrap(refine_by_all)(nothing, nothing, np.zeros(1, np.int32), np.empty(0))
