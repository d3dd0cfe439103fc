"""The vectors of clusters against the sequential loop that the published codes run sample by sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reidlib.losses.centres import move_centres, plan_rounds
from tests.training.oracles import move_one_by_one, unit


def hardest(centres: Tensor, features: Tensor, labels: np.ndarray) -> list[int]:
    """Return for each label which of its samples is least similar to its centre."""
    near = [float(torch.linalg.vecdot(*pair)) for pair in zip(features, centres[labels], strict=True)]
    return [min(np.flatnonzero(labels == label).tolist(), key=near.__getitem__) for label in np.unique(labels)]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clusters=st.integers(1, 12),
    batch=st.integers(0, 50),
    dim=st.sampled_from([1, 3, 64, 100, 257]),
    momentum=st.sampled_from([0.0, 0.1, 0.2, 0.9, 1.0]),
    hard=st.booleans(),
)
def test_moving_is_bit_equal_to_the_sequential_loop(seed, clusters, batch, dim, momentum, hard):
    centres, features = unit(clusters, dim, seed), unit(batch, dim, seed + 1)
    labels = np.random.default_rng(seed).integers(0, clusters, batch)
    rows = hardest(centres, features, labels) if hard else list(range(batch))
    expected = centres.clone()
    move_one_by_one(expected, features[rows], labels[rows].tolist(), momentum)
    move_centres(centres, features, labels, momentum=momentum, hard=hard)
    assert torch.equal(centres, expected)


def test_moving_is_bit_equal_at_full_size():
    centres = unit(700, 2048, 0)
    random = np.random.default_rng(0).integers(0, 700, 256)
    for seed, labels in enumerate([random, np.arange(16).repeat(16)]):
        features = unit(256, 2048, 1 + seed)
        expected = centres.clone()
        move_one_by_one(expected, features, labels.tolist(), 0.1)
        move_centres(centres, features, labels, momentum=0.1)
        assert torch.equal(centres, expected)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 9), max_size=40))
def test_plan_has_every_sample_once_and_each_label_at_most_once_a_round(labels):
    array = np.array(labels, dtype=np.int64)
    order, groups, counts = plan_rounds(array)
    assert sorted(order.tolist()) == list(range(len(labels)))
    assert counts.sum() == len(labels)
    assert len(counts) == max((labels.count(label) for label in labels), default=0)
    last = dict.fromkeys(labels, -1)
    start = 0
    for count in counts:
        part = order[start : start + count]
        assert np.array_equal(array[part], groups[:count])
        for position in part:
            assert last[labels[position]] < position  # the batch's own order inside a label
            last[labels[position]] = position
        start += count


def test_moving_leaves_features_and_other_clusters_alone():
    centres, features = unit(5, 8, 0), unit(3, 8, 1).requires_grad_()
    before, copy = centres.clone(), features.detach().clone()
    move_centres(centres, features, np.array([3, 3, 1]), momentum=0.5)
    assert torch.equal(features, copy)
    assert torch.equal(centres[[0, 2, 4]], before[[0, 2, 4]])
    assert not centres.requires_grad
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("labels", [[0, -1], [5]])
def test_labels_without_a_cluster_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels 0\.\.4"):
        move_centres(unit(5, 8, 0), unit(len(labels), 8, 1), np.array(labels), momentum=0.5)
