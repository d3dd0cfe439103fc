"""The hybrid memory against loops over samples, classes and their members."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reidlib.losses.hybrid_memory import HybridMemory
from tests.training.oracles import move_one_by_one, unit


def mean_cosines(feature: Tensor, memory: HybridMemory, labels: np.ndarray) -> Tensor:
    """Return the mean cosine of a feature to each class' members, pair by pair."""
    return torch.stack(
        [
            sum(feature @ memory.features[row].to(feature.dtype) for row in np.flatnonzero(labels == number))
            / (labels == number).sum()
            for number in range(labels.max() + 1)
        ]
    )


def random_labels(seed: int, images: int, classes: int) -> np.ndarray:
    """Return labels 0..C-1 without gaps, some -1."""
    labels = np.random.default_rng(seed).integers(-1, classes, images)
    labels[:classes] = range(classes)
    return labels


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(8, 30),
    classes=st.integers(1, 8),
    batch=st.integers(1, 12),
    momentum=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_loss_gradient_and_update_are_those_of_the_loops(
    make_start, make_batch, seed, images, classes, batch, momentum
):
    labels, draw = random_labels(seed, images, classes), np.random.default_rng(seed)
    memory = HybridMemory(temperature=0.05, momentum=momentum)
    memory.begin(make_start(unit(images, 16, seed), labels))
    rows = draw.choice(np.flatnonzero(labels >= 0), batch)  # an image may come more than once
    features = unit(batch, 16, seed + 1).requires_grad_()
    given = make_batch(features, labels[rows], rows=rows)
    loss = memory(given)
    exact = features.detach().double().requires_grad_()
    cosines = [mean_cosines(functional.normalize(feature, dim=0), memory, labels) for feature in exact]
    terms = [(row / 0.05).logsumexp(0) - row[label] / 0.05 for row, label in zip(cosines, labels[rows], strict=True)]
    expected = sum(terms) / batch
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)
    wanted, found = torch.autograd.grad(expected, exact)[0], torch.autograd.grad(loss, features)[0]
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)
    moved = memory.features.clone()
    move_one_by_one(moved, given.first.embeddings.detach(), rows.tolist(), momentum)
    memory.update(given)
    assert torch.equal(memory.features, moved)


def test_scores_follow_the_memory_and_an_outlier_is_a_class_of_one(make_start, make_batch):
    memory = HybridMemory()
    assert memory.outliers_are_classes
    memory.begin(make_start(unit(6, 8, 0), [0, 0, 0, 1, 1, 2]))
    feature = unit(1, 8, 1)
    before = memory.scores(feature)
    torch.testing.assert_close(before[0, 2], feature[0] @ unit(6, 8, 0)[5])
    memory.update(make_batch(unit(2, 8, 2), [0, 2], rows=[1, 5]))
    after = memory.scores(feature)
    assert (before != after).tolist() == [[True, False, True]]
    torch.testing.assert_close(after[0], mean_cosines(feature[0], memory, np.array([0, 0, 0, 1, 1, 2])))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.scores(feature.bfloat16()).dtype == torch.float32


def test_features_live_on_while_classes_are_made_anew(make_start, make_batch):
    memory, start = HybridMemory(), make_start(unit(6, 8, 0), [0, 0, 0, 1, 1, 2])
    memory.begin(start)
    given = start.embeddings.copy()
    memory.update(make_batch(unit(2, 8, 2), [0, 2], rows=[1, 5]))
    assert np.array_equal(start.embeddings, given)
    kept, labels = memory.features.clone(), np.array([1, 1, 0, 0, 1, -1])
    memory.begin(make_start(unit(6, 8, 5), labels, epoch=1))
    assert torch.equal(memory.features, kept)
    feature = unit(1, 8, 1)
    torch.testing.assert_close(memory.scores(feature)[0], mean_cosines(feature[0], memory, labels))
    for rows, width in ((7, 8), (7, 4)):  # other images, another network
        memory.begin(make_start(unit(rows, width, 5), range(rows), epoch=2))
        torch.testing.assert_close(memory.features, unit(rows, width, 5))


def test_classes_of_other_cameras_take_no_part(make_start, make_batch):
    memory, labels = HybridMemory(), np.array([1, 0, 0, 2])
    memory.begin(make_start(unit(4, 8, 0), labels, [3, 3, 3, 5], local=True))
    features = unit(2, 8, 1)
    loss = memory(make_batch(features, [0, 2], [3, 5]))
    alone = functional.cross_entropy(mean_cosines(features[0], memory, labels)[None, :2] / 0.05, torch.tensor([0]))
    torch.testing.assert_close(loss, alone / 2)  # the second sample has but one class to choose from
    memory.begin(make_start(unit(4, 8, 0), labels, [3, 4, 5, 5]))
    assert memory.cameras.shape == (0,)


def test_state_is_restored_exactly(make_start, make_batch):
    memory, other = HybridMemory(), HybridMemory()
    memory.begin(make_start(unit(6, 8, 0), [0, 0, 0, 1, 1, 2]))
    other.begin(make_start(unit(6, 8, 9), [2, 1, 0, 1, 2, 0]))
    memory.update(make_batch(unit(2, 8, 2), [0, 2], rows=[1, 5]))
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.scores(unit(3, 8, 1)), memory.scores(unit(3, 8, 1)))


def test_a_row_that_is_no_image_is_refused(make_start, make_batch):
    memory = HybridMemory()
    memory.begin(make_start(unit(3, 8, 0), [0, 0, 1]))
    with pytest.raises(ValueError, match=r"labels 0\.\.2"):
        memory.update(make_batch(unit(1, 8, 0), [0], rows=[3]))
