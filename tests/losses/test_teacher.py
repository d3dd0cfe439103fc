"""Distillation against loops over the images."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from reidlib.losses.teacher import Teacher


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def taught(n=9, width=7, **settings):
    term = Teacher(**settings)
    term.teach(functional.normalize(random(n, width, seed=3)).numpy())
    return term


def likeness(embeddings, i, temperature):
    powers = {j: math.exp(float(embeddings[i] @ embeddings[j]) / temperature) for j in range(len(embeddings)) if j != i}
    return {j: power / sum(powers.values()) for j, power in powers.items()}


def test_equals_loops_over_the_rows_of_the_batch(make_batch):
    term, features, rows = taught(temperature=0.2), random(5, 2, 3), [8, 0, 3, 3, 5]
    student = functional.normalize(features.flatten(1)).double()
    teacher = term.embeddings[rows].double()
    expected = 0.0
    for i in range(5):
        target, own = likeness(teacher, i, 0.2), likeness(student, i, 0.2)
        expected -= sum(target[j] * math.log(own[j]) for j in target) / 5
    assert term(make_batch(features, [0] * 5, rows=rows)).item() == pytest.approx(expected, rel=1e-4)


def test_is_least_where_student_and_teacher_agree(make_batch):
    term = taught()
    rows = np.arange(6)
    agreed = term.embeddings[:6].clone().requires_grad_()
    least = term(make_batch(agreed, [0] * 6, rows=rows))
    assert least < term(make_batch(random(6, 7), [0] * 6, rows=rows))
    least.backward()
    assert agreed.grad.abs().max() < 1e-5
    turned = term.embeddings[:6] @ torch.linalg.qr(random(7, 7))[0]
    torch.testing.assert_close(term(make_batch(turned, [0] * 6, rows=rows)), least.detach())


def test_descends_and_is_float32_inside_autocast(make_batch):
    term, features, losses = taught(temperature=0.2), random(6, 4).requires_grad_(), []
    for _ in range(40):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses.append(term(make_batch(features, [0] * 6)))
        (slope,) = torch.autograd.grad(losses[-1], features)
        features.data -= slope
    assert losses[0].dtype == torch.float32
    assert losses[-1] < losses[0]


def test_a_single_image_has_nothing_to_resemble(make_batch):
    features = random(1, 4).requires_grad_()
    loss = taught()(make_batch(features, [0]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(1, 4))


def test_checkpoints_do_not_hold_the_teacher():
    assert not taught().state_dict()


def test_refuses_to_learn_from_nobody(make_batch):
    with pytest.raises(ValueError, match="expected the embeddings of a teacher"):
        Teacher()(make_batch(random(3, 4), [0] * 3))
