"""The reversal by numbers, and a game that the features win."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from reidlib.losses.camera_adversary import CameraAdversary, reverse_gradient
from reidlib.losses.total import TotalLoss

CAMERAS = [0, 1, 2, 0, 1, 2, 0, 1]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def begun(make_start, cameras=CAMERAS, **settings):
    torch.manual_seed(0)
    term = CameraAdversary(hidden=12, **{"dropout": 0.0, "repeated_softmax": False, "until_epoch": None} | settings)
    term.begin(make_start(random(8, 6), [0] * 8, cameras))
    return term


def test_reversal_returns_the_features_and_the_negated_gradient():
    features = random(4, 3, dtype=torch.float64).requires_grad_()
    assert torch.equal(reverse_gradient(features, 0.5), features)
    # twice reversed, at strengths 1/2 and 2, is the identity, whose gradient can be checked by differences
    twice = lambda values: (reverse_gradient(reverse_gradient(values, 0.5), 2.0) ** 3).sum()  # noqa: E731
    assert torch.autograd.gradcheck(twice, features)
    (slope,) = torch.autograd.grad((reverse_gradient(features, 0.5) ** 3).sum(), features)
    torch.testing.assert_close(slope, -0.5 * 3 * features.detach() ** 2)


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_is_cross_entropy_over_cameras_with_the_features_gradient_reversed(make_start, make_batch, strength):
    term, features = begun(make_start, strength=strength), random(8, 2, 3).requires_grad_()
    loss = term(make_batch(features, [0] * 8, CAMERAS))
    unit = functional.normalize(features.flatten(1))
    plain = functional.cross_entropy(copy.deepcopy(term.network)(unit), torch.tensor(CAMERAS))
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    (of_plain,) = torch.autograd.grad(plain, features)
    loss.backward()
    torch.testing.assert_close(features.grad, -strength * of_plain)
    assert all(parameter.grad.isfinite().all() for parameter in term.parameters())
    slopes = [parameter.grad.clone() for parameter in term.parameters()]
    own = torch.autograd.grad(
        functional.cross_entropy(term.network(unit.detach()), torch.tensor(CAMERAS)), list(term.parameters())
    )
    torch.testing.assert_close(slopes, list(own))  # not reversed for the network itself


def test_the_papers_code_takes_the_softmax_three_times(make_start, make_batch):
    term, features = begun(make_start, repeated_softmax=True), random(8, 6)
    loss = term(make_batch(features, [0] * 8, CAMERAS))
    logs = term.network(functional.normalize(features)).log_softmax(dim=1)  # its network's last layer
    torch.testing.assert_close(loss, functional.cross_entropy(logs.softmax(dim=1), torch.tensor(CAMERAS)))


def test_numbers_of_the_first_layer_are_left_out_alike_on_every_process(make_start, make_batch):
    term, features = begun(make_start, dropout=0.5), random(8, 6)
    loss = term(make_batch(features, [0] * 8, CAMERAS, seed=3))
    hidden = term.network[:3](functional.normalize(features))
    for kept, row in zip(np.random.default_rng(3).random((8, 12)) >= 0.5, hidden, strict=True):
        for place, keeps in enumerate(kept):
            row.data[place] = row[place] * 2 if keeps else 0
    torch.testing.assert_close(loss, functional.cross_entropy(term.network[3:](hidden), torch.tensor(CAMERAS)))
    torch.manual_seed(5)  # another process's
    assert torch.equal(term(make_batch(features, [0] * 8, CAMERAS, seed=3)), loss)


def test_one_camera_costs_nothing_but_is_connected(make_start, make_batch):
    term, features = begun(make_start, [0] * 8), random(8, 6).requires_grad_()
    loss = term(make_batch(features, [0] * 8))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(8, 6))


def test_ends_where_it_is_told_to(make_start, make_batch):
    term = begun(make_start, until_epoch=3)
    losses = [term(make_batch(random(8, 6), [0] * 8, CAMERAS, epoch=epoch)).item() for epoch in (2, 3)]
    assert losses[0] > 0
    assert losses[1] == 0


def test_lasts_over_epochs_and_checkpoints(make_start, make_batch):
    total = TotalLoss({"camera_adversary": {"hidden": 12, "dropout": 0.0}})
    start = make_start(random(8, 6), [0] * 8, CAMERAS)
    total.begin(start)
    batch = make_batch(random(8, 6), [0] * 8, CAMERAS)
    before = total(batch)
    total.begin(start)
    assert torch.equal(total(batch), before)
    resumed = TotalLoss({"camera_adversary": {"hidden": 12, "dropout": 0.0}})
    resumed.load(total.state_dict(), torch.device("cpu"))
    assert torch.equal(resumed(batch), before)
    resumed.begin(start)
    assert torch.equal(resumed(batch), before)


def test_float32_inside_autocast(make_start, make_batch):
    term, batch = begun(make_start), make_batch(random(8, 6), [0] * 8, CAMERAS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = term(batch)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, term(batch))
