"""The cluster memory against the sequential loop that the published codes run sample by sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reidlib.training.memories import ClusterMemory, plan_rounds


def unit(count: int, dim: int, seed: int) -> Tensor:
    return functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)))


def one_by_one(centres: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    centres = centres.clone()
    for feature, label in zip(features, labels.tolist(), strict=True):
        centres[label] = momentum * centres[label] + (1 - momentum) * feature
        centres[label] /= centres[label].norm()
    return centres


def one_by_one_hard(centres: Tensor, features: Tensor, labels: Tensor, momentum: float) -> Tensor:
    new = centres.clone()
    for label in set(labels.tolist()):
        members = [i for i, other in enumerate(labels.tolist()) if other == label]
        hardest = min(members, key=lambda i: float(torch.linalg.vecdot(features[i], centres[label])))
        new[label] = momentum * centres[label] + (1 - momentum) * features[hardest]
        new[label] /= new[label].norm()
    return new


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clusters=st.integers(1, 12),
    batch=st.integers(0, 50),
    dim=st.sampled_from([1, 3, 64, 100, 257]),
    momentum=st.sampled_from([0.0, 0.1, 0.2, 0.9, 1.0]),
    hard=st.booleans(),
)
def test_update_is_bit_equal_to_the_sequential_loop(seed, clusters, batch, dim, momentum, hard):
    memory = ClusterMemory(unit(clusters, dim, seed), momentum=momentum, hard=hard)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, clusters, batch))
    features = unit(batch, dim, seed + 1)
    expected = (one_by_one_hard if hard else one_by_one)(memory.centres, features, labels, momentum)
    memory.update(features, labels)
    assert torch.equal(memory.centres, expected)


def test_update_is_bit_equal_at_full_size():
    memory = ClusterMemory(unit(700, 2048, 0), momentum=0.1)
    random = torch.randint(0, 700, (256,), generator=torch.Generator().manual_seed(0))
    for seed, labels in enumerate([random, torch.arange(16).repeat_interleave(16)]):
        features = unit(256, 2048, 1 + seed)
        expected = one_by_one(memory.centres, features, labels, 0.1)
        memory.update(features, labels)
        assert torch.equal(memory.centres, expected)


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


def test_centres_are_normalised_means_and_outliers_are_left_out():
    embeddings = unit(30, 8, 0).numpy()
    labels = np.array([-1, 2, 0, 1, 0] * 6)
    memory = ClusterMemory.from_embeddings(embeddings, labels, momentum=0.1)
    means = np.stack([embeddings[labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(memory.centres, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    assert list(memory.state_dict()) == ["centres", "cameras"]


def test_scores_are_cosines_and_gradients_stop_at_the_memory():
    memory = ClusterMemory(unit(5, 8, 0) * 3, momentum=0.5)
    features = unit(4, 8, 1).requires_grad_()
    scores = memory.scores(features)
    expected = functional.cosine_similarity(features[:, None], memory.centres[None], dim=2)
    torch.testing.assert_close(scores, expected)
    scores.sum().backward()
    memory.update(features, torch.tensor([0, 1, 1, 4]))
    assert features.grad is not None
    assert not memory.centres.requires_grad
    torch.testing.assert_close(memory.centres.norm(dim=1), torch.ones(5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.scores(features.bfloat16()).dtype == torch.float32


def test_update_leaves_features_and_other_clusters_alone():
    memory = ClusterMemory(unit(5, 8, 0), momentum=0.5)
    before, features = memory.centres.clone(), unit(3, 8, 1)
    copy = features.clone()
    memory.update(features, torch.tensor([3, 3, 1]))
    assert torch.equal(features, copy)
    assert torch.equal(memory.centres[[0, 2, 4]], before[[0, 2, 4]])


def test_clusters_of_other_cameras_score_minus_infinity():
    embeddings, labels = unit(6, 4, 0).numpy(), np.array([0, 0, 1, 2, -1, 2])
    memory = ClusterMemory.from_embeddings(
        embeddings, labels, momentum=0.1, cameras=np.array([3, 3, 3, 5, 5, 5], np.int16)
    )
    assert memory.cameras.tolist() == [3, 3, 5]
    features = unit(2, 4, 1).requires_grad_()
    scores = memory.scores(features, torch.tensor([3, 5]))
    assert scores.isneginf().tolist() == [[False, False, True], [True, True, False]]
    alone = ClusterMemory(memory.centres[:2], momentum=0.1).scores(features[:1])
    torch.testing.assert_close(scores[:1, :2], alone)
    functional.cross_entropy(scores, torch.tensor([0, 2])).backward()
    assert features.grad.isfinite().all()


def test_state_is_restored_exactly():
    memory = ClusterMemory(unit(5, 8, 0), momentum=0.5)
    memory.update(unit(3, 8, 1), torch.tensor([3, 3, 1]))
    other = ClusterMemory(torch.ones(5, 8), momentum=0.5)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.centres, memory.centres)


@pytest.mark.parametrize("labels", [[0, -1], [5]])
def test_labels_without_a_cluster_are_refused(labels):
    memory = ClusterMemory(unit(5, 8, 0), momentum=0.5)
    with pytest.raises(ValueError, match=r"labels 0\.\.4"):
        memory.update(unit(len(labels), 8, 1), torch.tensor(labels))


def test_bad_beginnings_are_refused():
    embeddings = unit(4, 8, 0).numpy()
    with pytest.raises(ValueError, match="at least one cluster"):
        ClusterMemory.from_embeddings(embeddings, np.full(4, -1), momentum=0.1)
    with pytest.raises(ValueError, match="cluster 1 has no member"):
        ClusterMemory.from_embeddings(embeddings, np.array([0, 0, 2, -1]), momentum=0.1)
    with pytest.raises(ValueError, match="momentum"):
        ClusterMemory.from_embeddings(embeddings, np.zeros(4, int), momentum=1.1)
    with pytest.raises(ValueError, match="norm"):
        ClusterMemory.from_embeddings(embeddings * 0, np.zeros(4, int), momentum=0.1)
    with pytest.raises(ValueError, match=r"cluster 0 is on cameras \[0, 1\]"):
        ClusterMemory.from_embeddings(embeddings, np.zeros(4, int), momentum=0.1, cameras=np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="no cameras"):
        ClusterMemory(unit(2, 8, 0), momentum=0.1).scores(unit(2, 8, 0), torch.tensor([0, 1]))
