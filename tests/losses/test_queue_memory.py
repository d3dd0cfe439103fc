"""The rings of the multi-queue memory against a loop over the samples."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from reidlib.losses.cluster_memory import ClusterMemory
from reidlib.losses.queue_memory import QueueMemory
from tests.training.oracles import move_one_by_one, unit


def places(positions: Tensor, labels: np.ndarray, length: int) -> Iterator[tuple[int, int]]:
    """Yield the cluster and the slot that each sample overwrites, and move the positions on."""
    for label in labels.tolist():
        yield label, positions[label].item()
        positions[label] = (positions[label] + 1) % length


@pytest.fixture(scope="module")
def begun(make_start):
    """Return a builder of a memory whose clusters have one image each, on the cameras given."""

    def make(count, *, dim=8, seed=0, cameras=None, **how):
        memory = QueueMemory(**how)
        memory.begin(make_start(unit(count, dim, seed), range(count), cameras, local=cameras is not None))
        return memory

    return make


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clusters=st.integers(1, 6),
    batch=st.integers(1, 40),
    dim=st.sampled_from([1, 3, 64, 100]),
    length=st.integers(1, 9),
    momentum=st.sampled_from([0.0, 0.15, 0.9, 1.0]),
)
def test_update_is_bit_equal_to_the_sequential_loop(begun, make_batch, seed, clusters, batch, dim, length, momentum):
    memory = begun(clusters, dim=dim, seed=seed, length=length, slot_momentum=momentum)
    slots, positions = memory.slots.clone(), memory.positions.clone()
    draw = np.random.default_rng(seed)
    for turn in range(3):  # more samples of a cluster than its ring has slots, and rings that start in the middle
        given = make_batch(unit(batch, dim, seed + 1 + turn), draw.integers(0, clusters, batch))
        memory.update(given)
        move_one_by_one(slots, given.first.embeddings, places(positions, given.labels, length), momentum)
        assert torch.equal(memory.slots, slots)
        assert torch.equal(memory.positions, positions)


@pytest.mark.parametrize("unit_start", [False, True])
def test_rings_begin_full_of_the_mean_and_at_their_first_slot(make_start, make_batch, unit_start):
    embeddings, labels = unit(12, 8, 0), np.array([-1, 1, 0] * 4)
    memory = QueueMemory(length=5, unit_start=unit_start)
    memory.begin(make_start(embeddings, labels))
    means = torch.stack([embeddings[labels == c].mean(0) for c in range(2)])
    means = functional.normalize(means) if unit_start else means
    torch.testing.assert_close(memory.slots, means[:, None].expand(2, 5, 8))
    first = memory.slots.clone()
    memory.update(make_batch(unit(3, 8, 1), [1, 1, 0]))
    assert memory.positions.tolist() == [1, 2]
    assert (memory.slots != first).any(dim=2).tolist() == [[True] + [False] * 4, [True] * 2 + [False] * 3]
    memory.begin(make_start(embeddings, labels))
    assert torch.equal(memory.slots, first)
    assert memory.positions.tolist() == [0, 0]


def test_loss_is_against_the_drawn_slots(begun, make_batch):
    memory = begun(5, length=4, temperature=0.07)
    memory.slots = functional.normalize(torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(2)), dim=2)
    features = unit(3, 8, 1).requires_grad_()
    losses = []
    for seed in range(20):
        batch = make_batch(features, [4, 0, 0], seed=seed)
        drawn = np.random.default_rng(seed).integers(4, size=5)
        expected = 0.0
        for feature, label in zip(batch.first.embeddings.detach().double(), batch.labels, strict=True):
            cosines = [float(feature @ memory.slots[c, drawn[c]].double()) / 0.07 for c in range(5)]
            expected += (np.log(np.exp(cosines).sum()) - cosines[label]) / 3
        losses.append(memory(batch))
        assert losses[-1].item() == pytest.approx(expected, rel=1e-5)
    assert len({loss.item() for loss in losses}) > 10
    losses[0].backward()
    assert features.grad.abs().sum() > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.scores(features.bfloat16(), np.zeros(5, int)).dtype == torch.float32


def test_rings_of_one_slot_are_a_cluster_memory(begun, make_start, make_batch):
    ring, vectors = begun(5, length=1, slot_momentum=0.1, unit_start=True), ClusterMemory(momentum=0.1)
    vectors.begin(make_start(unit(5, 8, 0), range(5)))
    for seed in range(3):
        batch = make_batch(unit(6, 8, seed), [0, 3, 3, 4, 3, 0])
        assert ring(batch) == vectors(batch)
        ring.update(batch)
        vectors.update(batch)
    assert torch.equal(ring.slots[:, 0], vectors.centres)


def test_clusters_of_other_cameras_take_no_part(begun, make_batch):
    memory = begun(3, length=1, cameras=[3, 3, 5])
    features = unit(2, 8, 1).requires_grad_()
    loss = memory(make_batch(features, [0, 2], [3, 5]))
    alone = functional.cross_entropy(features[:1] @ memory.slots[:2, 0].T / 0.05, torch.tensor([0]))
    torch.testing.assert_close(loss, alone / 2)  # the second sample has but one cluster to choose from
    loss.backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.5])
def test_gradient_of_the_temperature_is_the_formulas_also_on_the_bounds(begun, make_batch, temperature):
    memory = begun(5, temperature=temperature, trainable_temperature=True, temperature_range=[0.01, 0.5], length=1)
    batch = make_batch(functional.normalize(memory.slots[:3, 0] + unit(3, 8, 1)), [1, 0, 0])
    memory.update(batch)
    memory(batch).backward()
    scores = (batch.first.embeddings @ memory.slots[:, 0].T).double()
    expected = 0.0  # of log sum exp(s / t) - s_y / t in t
    for row, label in zip(scores, batch.labels, strict=True):
        chances = (row / temperature).softmax(0)
        expected += float(row[label] - chances @ row) / temperature**2 / 3
    assert expected != 0
    assert memory.temperature.grad.item() == pytest.approx(expected, rel=1e-3)


def test_a_trained_temperature_stays_in_its_range_and_comes_back_from_a_bound(begun, make_start, make_batch):
    memory = begun(5, temperature=0.011, trainable_temperature=True, temperature_range=[0.01, 0.5])
    assert [name for name, _ in memory.named_parameters()] == ["temperature"]
    assert memory.rate == 0.01
    good, bad = (make_batch(unit(5, 8, 0), labels) for labels in (range(5), [1, 2, 3, 4, 0]))
    optimiser, seen = torch.optim.SGD(memory.parameters(), lr=1.0), []
    for batch in [good] * 5 + [bad] + [good] * 5:  # a sample is sure of its cluster, then of a wrong one
        optimiser.param_groups[0]["lr"] = 1.0 if batch is bad else 1e9
        optimiser.zero_grad()
        memory(batch).backward()
        optimiser.step()
        memory.update(make_batch(unit(0, 8, 0), []))
        seen.append(round(memory.temperature.item(), 6))
    assert seen[4] == 0.01
    assert seen[5] == 0.5
    assert all(0.01 <= value <= 0.5 for value in seen)
    kept = memory.temperature
    memory.begin(make_start(unit(7, 8, 3), range(7), epoch=1))
    assert memory.temperature is kept
    assert round(kept.item(), 6) == seen[-1]


def test_a_fixed_temperature_is_no_parameter_and_may_be_any():
    assert not list(QueueMemory(temperature=2.0).parameters())


@pytest.mark.parametrize("temperature", [0.009, 0.6])
def test_a_temperature_to_be_trained_from_outside_its_range_is_refused(temperature):
    with pytest.raises(ValueError, match=rf"temperature of 0\.01 to 0\.5.*{temperature}"):
        QueueMemory(temperature=temperature, trainable_temperature=True, temperature_range=[0.01, 0.5])


def test_without_a_range_a_trained_temperature_goes_where_it_goes(begun, make_batch):
    memory = begun(5, temperature=0.6, trainable_temperature=True)
    nn.init.constant_(memory.temperature, 0.003)
    memory.update(make_batch(unit(2, 8, 0), [0, 1]))
    assert memory.temperature.item() == pytest.approx(0.003)


def test_state_is_restored_exactly(begun, make_batch):
    how = {"length": 4, "trainable_temperature": True}
    memory, other = begun(5, **how), begun(5, seed=7, **how)
    memory.update(make_batch(unit(3, 8, 1), [3, 3, 1]))
    nn.init.constant_(memory.temperature, 0.2)
    assert set(memory.state_dict()) == {"temperature", "slots", "positions", "cameras"}
    other.load_state_dict(memory.state_dict())
    batch = make_batch(unit(3, 8, 2), [3, 3, 3])
    for one in (memory, other):
        one.update(batch)
    for name, value in memory.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
