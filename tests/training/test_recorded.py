"""Passes that are recorded on a GPU: when, and that they change nothing."""

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from benchmarks.step import random_images, training_phase
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.models.embedder import Features, new_embedder
from reidlib.training.loop import train
from reidlib.training.plan import Compute
from reidlib.training.recorded import Recorded
from reidlib.training.state import State
from tests.training.plans import settings_of, small

IMAGES = torch.zeros(4, 3, 8, 4)


def state(
    *, frozen=(), group=None, precision="fp32", views=1, accumulate=1, size=1, where="cuda", norms=(), record=True
):
    settings = SimpleNamespace(
        frozen_in=lambda _: list(frozen), batch_norm_group=group, accumulate=accumulate, compute=Compute(record=record)
    )
    return Mock(
        spec=State, settings=settings, precision=precision, epoch=0, loss=SimpleNamespace(views=views),
        world=SimpleNamespace(size=size, device=torch.device(where)),
        model=SimpleNamespace(architecture=SimpleNamespace(camera_norms=norms)),
    )  # fmt: skip


@pytest.fixture
def recorded(monkeypatch):
    """One that notes what it would record and play, on any device."""

    def play(images):
        one.calls.append(("played", len(images)))
        return torch.ones(len(images), 1, 2), torch.ones(len(images), 1, 2)

    def record(images):
        one.forget()
        one.calls.append(("recorded", len(images)))
        one._played, one._recorded = play, images.shape

    class Network(torch.nn.Module):
        def forward(self, images):
            one.calls.append(("run", len(images)))
            return Features(torch.ones(len(images), 1, 2), torch.ones(len(images), 1, 2), before_neck=True)

    one = Recorded(Network())
    one.calls = []
    monkeypatch.setattr(one, "_record", record)
    return one


def calls(recorded, *lengths):
    del recorded.calls[:]
    for length in lengths:
        assert recorded(IMAGES[:length]).before_neck
    return recorded.calls


def test_the_second_batch_of_a_size_in_a_row_is_recorded_and_others_are_run(recorded):
    recorded.begin_epoch(state(), resident=True)
    assert calls(recorded, 4, 4, 4) == [("run", 4), ("recorded", 4), ("played", 4), ("played", 4)]
    assert calls(recorded, 2, 4, 2, 4) == [("run", 2), ("played", 4)] * 2
    assert calls(recorded, 2, 2, 4) == [("run", 2), ("recorded", 2), ("played", 2), ("run", 4)]


def test_a_recording_lasts_until_passes_are_other_ones(recorded):
    recorded.begin_epoch(state(), resident=True)
    calls(recorded, 4, 4)
    recorded.begin_epoch(state(), resident=True)
    assert calls(recorded, 4) == [("played", 4)]
    for change in ({"frozen": ["backbone"]}, {"group": 2}, {"precision": "bf16"}):
        recorded.begin_epoch(state(**change), resident=True)
        assert calls(recorded, 4, 4) == [("run", 4), ("recorded", 4), ("played", 4)]


@pytest.mark.parametrize(
    "change",
    [{"views": 2}, {"accumulate": 2}, {"size": 2}, {"where": "cpu"}, {"norms": ("layer1",)}, {"record": False}, {}],
)
def test_what_cannot_be_recorded_is_run(recorded, change):
    recorded.begin_epoch(state(**change), resident=bool(change))
    assert calls(recorded, 4, 4, 4) == [("run", 4)] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("attention", [None, "non_local"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_played_passes_train_as_those_that_are_run(monkeypatch, precision, attention):
    """With layers that draw (drop path), too, and layers that leave autocast on the way forth alone (attention)."""
    images, labels = random_images(32, 16)
    record, recordings, ended = Recorded._record, [], []

    def note(one, given):
        record(one, given)
        recordings.append(one._played)

    monkeypatch.setattr(Recorded, "_record", note)
    for recording in (True, False):
        where = {"attention": attention, "attention_after": "layer2"} if attention else {}
        model = new_embedder(small(batch_norm_group=16, drop_path=0.2, **where), seed=0)
        phases = [training_phase(lambda *_: PseudoLabels(labels, {}), batch=64)]
        settings = settings_of(epochs=2, iterations=8, precision=precision, learning_rate=1e-4, record=recording)
        history = train(model, images, np.zeros(len(images), np.int16), phases=phases, settings=settings)
        ended.append(([curve["loss"] for curve in history.curves], model.state_dict()))
    assert len(recordings) == 1 and recordings[0] is not None
    (ours, weights), (theirs, others) = ended
    close = 1e-4 if precision == "fp32" else 2e-2
    assert ours == pytest.approx(theirs, rel=close)
    for name, value in others.items():
        torch.testing.assert_close(weights[name], value, rtol=0.05, atol=close, msg=name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_that_cannot_be_recorded_is_refused_with_the_value_that_lets_it_train():
    images, labels = random_images(32, 16)
    model = new_embedder(small(), seed=0)
    model.backbone.layer1.register_forward_hook(lambda _, __, maps: maps * (1 + 0 * maps.sum().item()))
    phases = [training_phase(lambda *_: PseudoLabels(labels, {}), batch=64)]
    with pytest.raises(ValueError, match=r"cannot be recorded .*; set compute.record=false"):
        train(model, images, np.zeros(len(images), np.int16), phases=phases, settings=settings_of())
