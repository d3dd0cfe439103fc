"""An interrupted and resumed run against an uninterrupted one: equal to the last bit."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.models.embedder import new_embedder
from reidlib.training import loop
from reidlib.training.checkpoint import Checkpoints, Interrupted
from reidlib.training.intra import Inside, train_per_camera
from reidlib.training.loop import train
from reidlib.training.plan import IntraStage, Phase
from tests.training.plans import BATCHES, LOCAL, settings_of, small

SMALL = small(pooling="gem_trained", batch_norm_group=4)
EPOCHS, ITERATIONS = 2, 4
SETTINGS = settings_of(epochs=EPOCHS, iterations=ITERATIONS, log_every=3)


def label_by_embeddings(cameras):
    """Labels that depend on the embeddings, so that another embedding would be noticed."""

    def label(epoch, embeddings, world, earlier):
        order = np.argsort(np.argsort(embeddings[:, 0]))
        labels = (order * 6 // len(order) * 2 + cameras).astype(np.int32)
        return PseudoLabels(
            np.unique(labels, return_inverse=True)[1].astype(np.int32), {"first": float(embeddings[0, 0])}
        )

    return label


def run(crops, checkpoints, *, loss=BATCHES["loss"], settings=SETTINGS):
    images, cameras, _ = crops
    model = new_embedder(SMALL, seed=0).eval()  # as a stage loads it
    phases = [Phase(label=label_by_embeddings(cameras), local=True, **BATCHES | {"loss": loss})]
    history = train(model, images, cameras, phases=phases, settings=settings, checkpoints=checkpoints)
    return model.state_dict(), history


@pytest.fixture(scope="module")
def uninterrupted(crops):
    return run(crops, None)


@pytest.mark.parametrize("at", [0, 3, 4, 6])  # begin, end of an epoch, begin of the next, inside
def test_a_resumed_run_is_the_uninterrupted_one(crops, uninterrupted, tmp_path, monkeypatch, at):
    steps, step = [0], loop.step

    def stopped(*arguments, **keywords):
        step(*arguments, **keywords)
        steps[0] += 1
        if steps[0] == at + 1:
            signal.raise_signal(signal.SIGTERM if at % 2 else signal.SIGINT)

    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="run again to go on from") as caught:
        patched.setattr(loop, "step", stopped)
        run(crops, Checkpoints(tmp_path))
    assert caught.value.signal == (signal.SIGTERM if at % 2 else signal.SIGINT)
    state, history = run(crops, Checkpoints(tmp_path))
    assert history.curves == uninterrupted[1].curves
    np.testing.assert_array_equal(np.stack(history.labels), np.stack(uninterrupted[1].labels))
    for name, value in uninterrupted[0].items():
        assert torch.equal(state[name], value), name


def test_a_crash_goes_on_from_the_last_checkpoint_and_a_finished_run_is_not_run_again(
    crops, uninterrupted, tmp_path, monkeypatch, capsys
):
    step, steps = loop.step, [0]

    def crashing(*arguments, **keywords):
        steps[0] += 1
        if steps[0] == 7:
            raise RuntimeError("killed")
        step(*arguments, **keywords)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr(loop, "step", crashing)
        run(crops, Checkpoints(tmp_path, minutes=1e-6))
    state, history = run(crops, Checkpoints(tmp_path))
    assert "going on from epoch 2, iteration 3" in capsys.readouterr().out
    assert history.curves == uninterrupted[1].curves
    assert all(torch.equal(state[name], value) for name, value in uninterrupted[0].items())
    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", None)  # nothing is left to do
        state, history = run(crops, Checkpoints(tmp_path))
    assert history.curves == uninterrupted[1].curves


def test_rings_with_their_positions_and_trained_parameters_of_terms_survive(crops, tmp_path, monkeypatch):
    loss = {"queue_memory": {"length": 3, "trainable_temperature": True}, "classifier": {}, "camera_adversary": {}}
    expected, history = run(crops, None, loss=loss)
    step, steps, states = loop.step, [0], []

    def crashing(running, *arguments, **keywords):
        steps[0] += 1
        if steps[0] == 7:
            states.append({name: tensor.clone() for name, tensor in running.loss.state_dict().items()})
            raise RuntimeError("killed")
        step(running, *arguments, **keywords)

    def noted(running, *arguments, **keywords):
        states.append({name: tensor.clone() for name, tensor in running.loss.state_dict().items()})
        step(running, *arguments, **keywords)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr(loop, "step", crashing)
        run(crops, Checkpoints(tmp_path, minutes=1e-6), loss=loss)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", noted)
        state, resumed = run(crops, Checkpoints(tmp_path), loss=loss)
    assert states[0].keys() == states[1].keys() and states[0]["terms.queue_memory.positions"].any()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert resumed.curves == history.curves
    assert all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize("at", [3, 6])
def test_frozen_parts_running_means_and_steps_of_several_batches_survive(crops, tmp_path, monkeypatch, at):
    """Interrupted inside a step, which is then taken whole, and in the epoch after the frozen one."""
    settings = replace(SETTINGS, accumulate=2, ema=0.9, frozen={"backbone.layer2": 1}, decay_norms=False)
    expected, whole = run(crops, None, settings=settings)
    step, steps = loop.step, [0]

    def stopped(*arguments, **keywords):
        step(*arguments, **keywords)
        steps[0] += 1
        if steps[0] == at:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(loop, "step", stopped)
        run(crops, Checkpoints(tmp_path), settings=settings)
    assert steps[0] == at + at % 2
    state, history = run(crops, Checkpoints(tmp_path), settings=settings)
    assert history.curves == whole.curves and all(torch.equal(state[name], value) for name, value in expected.items())


def test_cameras_that_were_trained_are_not_trained_again(crops, tmp_path, monkeypatch):
    images, cameras, people = crops
    local = np.where(cameras == 0, people, people + 8)

    def per_camera(checkpoints):
        stage = IntraStage(sharing="per_camera", keep="last")
        inside = Inside(stage=stage, labelling=LOCAL, batches=BATCHES, settings=SETTINGS, checkpoints=checkpoints)
        return train_per_camera(new_embedder(SMALL, seed=0), images, cameras, local.astype(np.int32), inside)

    step, steps = loop.step, [0]

    def crashing(*arguments, **keywords):
        steps[0] += 1
        if steps[0] == EPOCHS * ITERATIONS + 3:
            raise RuntimeError("killed in the second camera")
        step(*arguments, **keywords)

    expected = per_camera(Checkpoints())
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="second camera"):
        patched.setattr(loop, "step", crashing)
        per_camera(Checkpoints(tmp_path))
    found = per_camera(Checkpoints(tmp_path))
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.curves.equals(expected.curves)
    for mine, its in zip(expected.models, found.models, strict=True):
        assert all(torch.equal(value, its.state_dict()[name]) for name, value in mine.state_dict().items())
