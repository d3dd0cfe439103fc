"""How the network's parameters move, against a plain loop with torch's own optimisers and schedules."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from reidlib.losses.term import EpochStart
from reidlib.models.embedder import new_embedder
from reidlib.training.distributed import ALONE
from reidlib.training.loop import train
from reidlib.training.state import State
from tests.training.plans import fixed_phase, settings_of, small

PLAIN = {"iterations": 5, "decay_at": [], "learning_rate": 0.01}
COUNT = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "nesterov": torch.optim.SGD}
MOMENTUM = {"sgd": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}


def loss_of(model, number):
    """Some loss of all parameters, another one for each batch."""
    return sum(((value - number) ** 2).sum() * (1 + 0.1 * number) for value in model.parameters())


def moved(**changes):
    """The weights after an epoch's steps, and the state of the run."""
    model = new_embedder(small(), seed=0)
    state = State(model, fixed_phase(np.zeros(4, np.int32)), settings_of(**PLAIN | changes), ALONE)
    state.update_optimiser()
    model.train()
    state.freeze()
    for number in range(state.settings.iterations):
        state.descend(loss_of(model, number))
        state.iteration += 1
    return state


def expected(*, optimiser="adam", accumulate=1, decayed=lambda name, value: True, frozen=(), ema=None):
    """The same, written out: one group to a parameter, gradients added up by hand."""
    model = new_embedder(small(), seed=0)
    kind, values = COUNT[optimiser], MOMENTUM.get(optimiser, {})
    groups = [
        {"params": [value], "weight_decay": 5e-4 if decayed(name, value) else 0.0}
        for name, value in model.named_parameters()
        if value.requires_grad and not name.startswith(tuple(frozen))
    ]
    optimiser = kind(groups, lr=0.01, **values)
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    for step, first in enumerate(range(0, 5, accumulate)):
        batches = range(first, min(first + accumulate, 5))
        optimiser.zero_grad()
        (sum(loss_of(model, number) for number in batches) / len(batches)).backward()
        optimiser.step()
        for name, value in model.state_dict().items():
            keep = 0 if ema is None else min(ema, (1 + step) / (3 + step))
            mean[name] = keep * mean[name] + (1 - keep) * value if keep else value.clone()
    return mean


def assert_close(found, wanted):
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value.to(found[name].dtype), rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("optimiser", COUNT)
def test_every_optimiser_is_torchs(optimiser):
    assert_close(moved(optimiser=optimiser).model.state_dict(), expected(optimiser=optimiser))


@pytest.mark.parametrize("accumulate", [2, 3, 5, 9])
def test_a_step_takes_the_mean_gradient_of_its_batches_and_the_last_may_have_fewer(accumulate):
    found = moved(optimiser="sgd", accumulate=accumulate).model.state_dict()
    assert_close(found, expected(optimiser="sgd", accumulate=min(accumulate, 5)))


def test_biases_and_scales_of_norms_may_be_left_to_themselves():
    found = moved(optimiser="adamw", decay_norms=False).model.state_dict()
    wanted = expected(optimiser="adamw", decayed=lambda name, value: value.ndim > 1)
    assert_close(found, wanted)
    norm = "backbone.layer1.0.bn1.weight"
    assert not torch.equal(found[norm], moved(optimiser="adamw").model.state_dict()[norm])


@pytest.mark.parametrize("ema", [0.45, 0.99])  # kept from the second step on, and beyond these steps
def test_the_running_mean_is_a_running_mean(ema):
    state = moved(ema=ema)
    assert_close(state.average, expected(ema=ema))
    assert_close(state.model.state_dict(), expected())
    assert not moved().average


def test_what_is_frozen_stays_and_the_rest_moves():
    state = moved(frozen={"backbone.layer1": 1, "backbone.conv1": "always", "neck": 0}, weight_decay=0.1)
    start, found = new_embedder(small(), seed=0).state_dict(), state.model.state_dict()
    for name, value in start.items():
        if not name.endswith(("running_mean", "running_var", "tracked", "neck.bias")):
            assert torch.equal(value, found[name]) == name.startswith(("backbone.layer1.", "backbone.conv1.")), name
    state.epoch = 1
    assert state.settings.frozen_in(0) == ["backbone.layer1", "backbone.conv1"]
    assert state.settings.frozen_in(1) == ["backbone.conv1"]


def test_training_leaves_frozen_statistics_alone_for_as_long_and_ends_with_the_running_mean(crops, monkeypatch):
    images, cameras, people = crops
    states = []
    for epochs in (1, 2):
        model = new_embedder(small(), seed=0)
        settings = settings_of(epochs=epochs, frozen={"backbone": 1}, decay_at=[])
        train(model, images, cameras, phases=fixed_phase(people), settings=settings)
        states.append(model.state_dict())
    start = new_embedder(small(), seed=0).state_dict()
    for name, value in start.items():
        if name.startswith("backbone."):
            assert torch.equal(value, states[0][name]), name
    assert not torch.equal(start["neck.weight"], states[0]["neck.weight"])
    for name in ("backbone.conv1.weight", "backbone.bn1.running_mean"):
        assert not torch.equal(start[name], states[1][name])
    model = new_embedder(small(), seed=0)
    monkeypatch.setattr("reidlib.training.state.advance_mean", lambda *_, **__: None)  # it stays where it began
    history = train(model, images, cameras, phases=fixed_phase(people), settings=settings_of(ema=0.9))
    assert all(
        torch.equal(value, start[name]) for name, value in model.state_dict().items() if value.is_floating_point()
    )
    plain = train(new_embedder(small(), seed=0), images, cameras, phases=fixed_phase(people), settings=settings_of())
    assert history.curves == plain.curves  # labels and losses are those of the weights themselves


def test_a_part_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"frozen: expected parts of the network.*found backbone\.layer9"):
        moved(frozen={"backbone.layer9": 1, "backbone": 1})


def test_the_rate_waits_and_falls_along_half_a_cosine_to_a_floor():
    """As torch's schedules do one after the other: 10 epochs up, 20 level, 120 down to 7e-7."""
    settings = settings_of(
        epochs=150, decay_at=[], learning_rate=3.5e-4, warm_up=10, cosine=True, cosine_from=30, cosine_to=0.002
    )
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3.5e-4)
    up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, 1.0, total_iters=10)
    level = torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0, total_iters=20)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=120, eta_min=7e-7)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [up, level, down], [10, 30])
    for epoch in range(150):
        assert settings.rate(epoch) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6), epoch
        optimiser.step()
        schedule.step()
    rates = [settings.rate(epoch) for epoch in range(30, 150)]
    assert all(first > second for first, second in pairwise(rates)) and rates[-1] > 7e-7


def test_terms_own_parameters_are_decayed_and_renewed_beside():
    """Groups are split for the network alone; those of the losses' terms stay one each."""
    people = np.arange(4, dtype=np.int32)
    state = State(
        new_embedder(small(), seed=0),
        fixed_phase(people, loss={"classifier": {}}),
        settings_of(decay_norms=False),
        ALONE,
    )
    start = EpochStart(
        epoch=0, embeddings=np.eye(4, 256, dtype=np.float32), labels=people, cameras=people, local=False, renewed=True,
        device=torch.device("cpu"),
    )  # fmt: skip
    state.loss.begin(start)
    state.update_optimiser()
    decays = [(len(group["params"]), group["weight_decay"]) for group in state.optimiser.param_groups]
    assert [decay for _, decay in decays] == [5e-4, 0.0, 5e-4, 0.0, 5e-4]
    assert [count for count, _ in decays][2:] == [0, 1, 1]  # of the neck: a scale; the classifier's weight


@pytest.mark.parametrize("of_the_phase", [False, True])
def test_a_rate_by_size_is_that_of_the_backbone(of_the_phase):
    model = new_embedder(small(), seed=0)
    sized, fixed = settings_of(learning_rate="by_size", decay_at=[]), settings_of(decay_at=[])
    own = {"settings": sized} if of_the_phase else {}
    state = State(model, fixed_phase(np.zeros(4, np.int32), **own), fixed if of_the_phase else sized, ALONE)
    state.update_optimiser()
    parameters = sum(len(weight.flatten()) for weight in model.backbone.parameters())
    expected = 0.00035 * (23_508_032 / parameters) ** 0.5
    assert 0.0009 < expected < 0.0012  # half as wide as a ResNet-18
    assert state.optimiser.param_groups[0]["lr"] == pytest.approx(expected)
    assert state.settings.rate(1) == pytest.approx(expected)
    assert sized.of_size(23_508_032).rate(0) == 0.00035  # a ResNet-50's own
    unlearnt = settings_of(learning_rate="by_size", from_random=True)
    assert unlearnt.of_size(23_508_032).rate(0) == pytest.approx(3 * 0.00035)
    assert fixed.of_size(parameters) == fixed
