"""The cluster memory against its formula."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from reidlib.losses.cluster_memory import ClusterMemory
from reidlib.losses.total import TotalLoss
from reidlib.settings import arguments
from tests.training.oracles import unit


@pytest.fixture
def begun(make_start):
    """Return a builder of a memory whose clusters have one image each."""

    def make(count, *, seed=0, **how):
        memory = ClusterMemory(**how)
        memory.begin(make_start(unit(count, 8, seed), range(count)))
        return memory

    return make


def test_an_epoch_begins_with_normalised_means(make_start):
    embeddings, labels = unit(30, 8, 0).numpy(), np.array([-1, 2, 0, 1, 0] * 6)
    memory = ClusterMemory(momentum=0.1)
    memory.begin(make_start(embeddings, labels))
    means = np.stack([embeddings[labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(memory.centres, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    assert list(memory.state_dict()) == ["centres", "cameras", "weights"]


def test_scores_are_cosines_and_gradients_stop_at_the_memory(begun, make_batch):
    memory, features = begun(5, momentum=0.5), unit(4, 8, 1).requires_grad_()
    memory.centres *= 3  # a cosine only where the vector has norm 1
    torch.testing.assert_close(memory.scores(features), 3 * features @ unit(5, 8, 0).T)
    memory.centres /= 3
    scores = memory.scores(features)
    torch.testing.assert_close(scores, functional.cosine_similarity(features[:, None], memory.centres[None], dim=2))
    batch = make_batch(features, [0, 1, 1, 4])
    memory(batch).backward()
    memory.update(batch)
    assert features.grad.abs().sum() > 0
    assert not memory.centres.requires_grad
    torch.testing.assert_close(memory.centres.norm(dim=1), torch.ones(5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.scores(features.bfloat16()).dtype == torch.float32


def test_loss_is_the_cross_entropy_at_the_temperature(begun, make_batch):
    memory = begun(5, temperature=0.07)
    batch = make_batch(unit(3, 8, 1), [4, 0, 0])
    expected = 0.0
    for feature, label in zip(batch.first.embeddings.double(), batch.labels, strict=True):
        cosines = [float(feature @ centre) / 0.07 for centre in memory.centres.double()]
        expected += (np.log(np.exp(cosines).sum()) - cosines[label]) / 3
    assert memory(batch).item() == pytest.approx(expected, rel=1e-5)


def test_from_an_epoch_on_samples_count_by_the_entropy_of_their_cluster(make_start, make_batch):
    memory, labels, cameras = ClusterMemory(entropy_from_epoch=2), [0, 0, 1, 1, 2, -1], [0, 1, 0, 0, 4, 1]
    batch, losses = make_batch(unit(3, 8, 1), [0, 1, 2]), []
    for epoch in range(4):
        memory.begin(make_start(unit(6, 8, 0), labels, cameras, epoch=epoch))
        losses.append(memory(batch))
    torch.testing.assert_close(
        losses[0], functional.cross_entropy(memory.scores(batch.first.embeddings) / 0.05, torch.arange(3))
    )
    assert losses[1] == losses[0]
    first = functional.cross_entropy(memory.scores(batch.first.embeddings[:1]) / 0.05, torch.tensor([0]))
    torch.testing.assert_close(losses[2], first)  # the weighted mean: the clusters of one camera weigh nothing
    assert losses[3] == losses[2]


@pytest.mark.parametrize("hard", [False, True])
def test_update_moves_the_clusters_of_the_batch_in_order(begun, make_batch, hard):
    memory = begun(5, momentum=0.5, hard=hard)
    before, batch = memory.centres.clone(), make_batch(unit(3, 8, 1), [3, 3, 1])
    memory.update(batch)
    assert torch.equal(memory.centres[[0, 2, 4]], before[[0, 2, 4]])
    first, second, third = batch.first.embeddings
    movers = [min(first, second, key=lambda q: float(q @ before[3]))] if hard else [first, second]
    expected = before[3]
    for mover in movers:
        expected = functional.normalize(0.5 * expected + 0.5 * mover, dim=0)
    torch.testing.assert_close(memory.centres[3], expected)
    torch.testing.assert_close(memory.centres[1], functional.normalize(before[1] + third, dim=0))


def test_clusters_of_other_cameras_take_no_part(make_start, make_batch):
    embeddings, labels, cameras = unit(6, 4, 0), np.array([0, 0, 1, 2, -1, 2]), [3, 3, 3, 5, 5, 5]
    memory = ClusterMemory(momentum=0.1)
    memory.begin(make_start(embeddings, labels, cameras, local=True))
    assert memory.cameras.tolist() == [3, 3, 5]
    features = unit(2, 4, 1).requires_grad_()
    loss = memory(make_batch(features, [0, 2], [3, 5]))
    alone = functional.cross_entropy(memory.scores(features[:1])[:, :2] / 0.05, torch.tensor([0]))
    torch.testing.assert_close(loss, alone / 2)  # the second sample has but one cluster to choose from
    loss.backward()
    assert features.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"cluster 0 is on cameras \[0, 1\]"):
        memory.begin(make_start(embeddings, labels, [0, 1, 1, 1, 1, 1], local=True))
    memory.begin(make_start(embeddings, labels, [0, 1, 1, 1, 1, 1]))
    assert memory.cameras.shape == (0,)


def test_state_is_restored_exactly(begun, make_batch):
    memory, other = begun(5, momentum=0.5), begun(5, seed=7, momentum=0.5)
    memory.update(make_batch(unit(3, 8, 1), [3, 3, 1]))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.centres, memory.centres)


@pytest.mark.parametrize("labels", [[0, -1], [5]])
def test_labels_without_a_cluster_are_refused(begun, make_batch, labels):
    with pytest.raises(ValueError, match=r"labels 0\.\.4"):
        begun(5).update(make_batch(unit(len(labels), 8, 1), labels))


def test_a_momentum_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"momentum.*less than or equal to 1"):
        arguments({"momentum": 1.1}, of=ClusterMemory, where="loss.cluster_memory")


def test_outliers_may_be_clusters_of_their_own(make_start, make_batch):
    """Single images beside clusters, as bottom-up clustering has them, through the loss that asks for them."""
    embeddings, labels = unit(6, 8, 0).numpy(), np.int32([0, -1, 0, 1, 1, -1])
    assert not ClusterMemory().outliers_are_classes
    loss = TotalLoss({"cluster_memory": {"outliers": True, "momentum": 0.5}})
    classes = loss.classes(labels)
    np.testing.assert_array_equal(classes, [0, 2, 0, 1, 1, 3])
    loss.begin(make_start(embeddings, classes))
    memory = loss.terms["cluster_memory"]
    torch.testing.assert_close(memory.centres[2:], torch.from_numpy(embeddings[[1, 5]]))
    moved = unit(1, 8, 5)
    memory.update(make_batch(moved, [3]))
    torch.testing.assert_close(
        memory.centres[3], functional.normalize(torch.from_numpy(embeddings[5]) + moved[0], dim=0)
    )
