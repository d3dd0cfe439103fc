"""Losses against loops over the samples, straight from the formulas."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reidlib.losses.softmax import (
    instance_discrimination,
    memory_loss,
    scale_and_margin,
    smoothed_cross_entropy,
    soft_cross_entropy,
)
from tests.training.oracles import unit


def test_memory_loss_is_the_mean_negative_log_softmax():
    scores, labels = torch.rand(6, 4) * 2 - 1, [0, 3, 3, 1, 2, 0]
    expected = 0.0
    for row, label in zip(scores.tolist(), labels, strict=True):
        expected -= math.log(math.exp(row[label] / 0.05) / sum(math.exp(s / 0.05) for s in row)) / 6
    assert memory_loss(scores, torch.tensor(labels), temperature=0.05).item() == pytest.approx(expected, rel=1e-5)


def test_a_trained_temperature_has_a_gradient_beside_classes_that_take_no_part():
    temperature = torch.tensor(0.1, requires_grad=True)
    scores = torch.tensor([[0.9, 0.1, -torch.inf]])
    torch.autograd.backward(memory_loss(scores, torch.tensor([0]), temperature=temperature))
    # loss = log(1 + exp(-.8 / t)), so its slope is .8 / t^2 * exp(-.8 / t) / (1 + exp(-.8 / t))
    expected = 0.8 / 0.1**2 * np.exp(-8) / (1 + np.exp(-8))
    assert float(temperature.grad) == pytest.approx(expected, rel=1e-4)


def test_memory_loss_weighs_its_samples():
    scores, labels = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1])
    each = [float(memory_loss(scores[i : i + 1], labels[i : i + 1], temperature=0.1)) for i in range(3)]
    loss = memory_loss(scores, labels, temperature=0.1, weights=torch.tensor([1.0, 0.0, 0.5]))
    assert float(loss) == pytest.approx((each[0] + 0.5 * each[2]) / 1.5, rel=1e-5)  # a weighted mean, as torch's own
    per_class = torch.tensor([1.0, 0.5, 2.0, 0.0])
    torchs = functional.cross_entropy(scores / 0.1, labels, weight=per_class)
    torch.testing.assert_close(memory_loss(scores, labels, temperature=0.1, weights=per_class[labels]), torchs)
    scores.requires_grad_()
    nothing = memory_loss(scores, labels, temperature=0.1, weights=torch.zeros(3))
    nothing.backward()
    assert nothing.item() == 0 and torch.equal(scores.grad, torch.zeros(3, 4))


def test_memory_loss_leaves_out_what_scores_minus_infinity():
    scores = torch.tensor([[0.5, -torch.inf, 0.1]], requires_grad=True)
    loss = memory_loss(scores, torch.tensor([0]), temperature=0.1)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-5)
    loss.backward()
    assert scores.grad.tolist()[0][1] == 0


def test_memory_loss_is_float32_and_trains_the_temperature():
    temperature = torch.tensor(0.05, requires_grad=True)
    scores = torch.zeros(2, 3, dtype=torch.bfloat16)
    loss = memory_loss(
        scores + torch.tensor([1, 0, 0]), torch.tensor([0, 1], dtype=torch.int32), temperature=temperature
    )
    loss.backward()
    assert loss.dtype == torch.float32
    assert temperature.grad.abs() > 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_cross_entropy_is_torchs(smoothing):
    scores, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 3, 1, 2, 0])
    expected = functional.cross_entropy(scores, labels, label_smoothing=smoothing)
    torch.testing.assert_close(smoothed_cross_entropy(scores, labels, smoothing=smoothing), expected)
    some = torch.cat([scores, torch.full((6, 2), -torch.inf)], dim=1)  # classes that take no part are no targets
    torch.testing.assert_close(smoothed_cross_entropy(some, labels, smoothing=smoothing), expected)


@pytest.mark.parametrize("focal", [0.5, 2.0])
def test_focal_weighs_easy_samples_down_and_has_a_slope_where_there_is_no_doubt(focal):
    scores, labels = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]), [0, 0, 1]
    expected = 0.0
    for row, label in zip(scores.tolist(), labels, strict=True):
        likely = math.exp(row[label]) / sum(map(math.exp, row))
        expected -= (1 - likely) ** focal * math.log(likely) / 3
    found = smoothed_cross_entropy(scores, torch.tensor(labels), focal=focal)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    sure = torch.tensor([[200.0, 0.0, -torch.inf]], requires_grad=True)
    smoothed_cross_entropy(sure, torch.tensor([0]), smoothing=0.1, focal=focal).backward()
    assert sure.grad.isfinite().all()


def test_soft_cross_entropy_equals_loops_and_spares_the_teacher():
    scores = torch.tensor([[1.0, -torch.inf, 0.5], [0.0, 2.0, -1.0]], requires_grad=True)
    teacher = torch.tensor([[0.2, -torch.inf, 3.0], [1.0, 1.0, 0.0]], requires_grad=True)
    expected = 0.0
    for own, target in zip(scores.tolist(), teacher.tolist(), strict=True):
        for o, t in zip(own, target, strict=True):
            if t > -math.inf:
                likely = math.exp(o) / sum(map(math.exp, own))
                expected -= math.exp(t) / sum(map(math.exp, target)) * math.log(likely) / 2
    loss = soft_cross_entropy(scores, teacher)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert teacher.grad is None
    assert scores.grad[0, 1] == 0
    assert scores.grad.isfinite().all()


def test_scale_and_margin_are_the_papers_unless_given():
    known = {"circle": (128.0, 0.25)}
    assert scale_and_margin("circle", known, scale=None, margin=None) == (128.0, 0.25)
    assert scale_and_margin("circle", known, scale=None, margin=0.0) == (128.0, 0.0)
    assert scale_and_margin("linear", known, scale=None, margin=None) == (1.0, 0.0)
    with pytest.raises(ValueError, match="linear: expected no scale and no margin, which circle have"):
        scale_and_margin("linear", known, scale=None, margin=0.0)


def naive_discrimination(first: Tensor, second: Tensor, temperature: float) -> float:
    def probability(i: int, view: Tensor) -> float:
        return float((first[i] @ view / temperature).exp() / sum((f @ view / temperature).exp() for f in first))

    loss = 0.0
    for i in range(len(first)):
        loss -= math.log(probability(i, second[i]))
        for j in range(len(first)):
            if j != i:
                loss -= math.log(1 - probability(i, first[j]))
    return loss / len(first)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_instance_discrimination_equals_the_formula(temperature):
    first, second = unit(7, 5, 0), unit(7, 5, 1)
    expected = naive_discrimination(first.double(), second.double(), temperature)
    expected += naive_discrimination(second.double(), first.double(), temperature)
    found = instance_discrimination(first, second, temperature=temperature)
    assert found.item() == pytest.approx(expected / 2, rel=1e-4)
    other = instance_discrimination(second, first, temperature=temperature)
    assert other.item() == pytest.approx(found.item(), rel=1e-6)


def test_instance_discrimination_attracts_views_and_repels_images():
    basis = torch.eye(4)
    apart = instance_discrimination(basis, basis, temperature=0.1)
    swapped = instance_discrimination(basis, basis.roll(1, 0), temperature=0.1)
    together = instance_discrimination(basis[:1].expand(4, 4), basis[:1].expand(4, 4), temperature=0.1)
    assert apart < 0.01 < together < swapped


def test_instance_discrimination_of_equal_images_is_finite():
    features = torch.ones(2, 4).div(2).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = instance_discrimination(features, features, temperature=0.001)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert features.grad.isfinite().all()


def test_one_image_is_refused():
    with pytest.raises(ValueError, match="at least 2 images"):
        instance_discrimination(unit(1, 2, 0), unit(1, 2, 0), temperature=0.1)
