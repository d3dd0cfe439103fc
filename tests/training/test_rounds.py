"""Rounds of epochs inside cameras and across them: what a turn keeps, and what it begins anew."""

import numpy as np
import pytest
import torch

from reidlib.batches.sampling import batches_of_a_pass
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.models.embedder import new_embedder
from reidlib.models.grouped_norm import GroupedBatchNorm
from reidlib.training import loop
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.phases import Rounds
from reidlib.training.plan import Phase
from tests.training.plans import settings_of, small

ROUNDS = Rounds(intra_epochs=3, inter_epochs=2, labels="turn", renew=True)
ACROSS = settings_of(epochs=7, iterations="pass", optimiser="sgd", learning_rate=0.01, decay_at=[], log_every=1)
INSIDE = settings_of(
    epochs=7, iterations=4, optimiser="adam", learning_rate=1e-3, weight_decay=1e-3, backbone_rate=0.5, decay_at=[],
    batch_norm_group=4, log_every=1,
)  # fmt: skip


def phases_of(crops, *, keeps=True, renews=True, asked=None):
    """Labels that change whenever they are made: of epoch e, each image's person is its row's, shifted by e."""
    _, cameras, people = crops

    def label(local):
        def make(epoch, *_):
            if asked is not None:
                asked.append(epoch)
            labels = np.roll(people, epoch)
            labels = np.unique(2 * labels + cameras, return_inverse=True)[1] if local else labels
            return PseudoLabels(labels.astype(np.int32), {"made": float(epoch)})

        return make

    turns = {"keeps_labels": keeps, "renews": renews}
    inside = {"sampling": "shuffled", "clusters_per_batch": 2, "images_per_cluster": 2}
    across = {"sampling": "mixed", "clusters_per_batch": 4, "images_per_cluster": 4}
    return [
        Phase(
            label=label(True),
            local=True,
            in_a_row=3,
            settings=INSIDE,
            loss={"camera_classifiers": {}},
            **turns,
            **inside,
        ),
        Phase(label=label(False), local=False, in_a_row=2, loss={"classifier": {}, "triplet": {}}, **turns, **across),
    ]


@pytest.fixture
def noted(monkeypatch):
    """What a step saw: epoch, the phase's classifier at its start, optimiser, group, the neck's statistics."""
    seen, step = [], loop.step

    def noting(state, network, drawn):
        term = next(iter(state.loss.terms.values()))
        norm = next(part for part in state.model.modules() if isinstance(part, GroupedBatchNorm))
        seen.append({
            "epoch": state.epoch, "iteration": state.iteration, "images": len(drawn.rows), "group": norm.group,
            "classifier": term.weight.detach().clone(), "known": len(state.optimiser.state),
            "optimiser": type(state.optimiser).__name__, "rates": [each["lr"] for each in state.optimiser.param_groups],
            "decay": {each["weight_decay"] for each in state.optimiser.param_groups},
            "batches_of_neck": int(state.model.neck.num_batches_tracked),
            "neck": state.model.neck.weight.detach().clone(),
        })  # fmt: skip
        step(state, network, drawn)

    monkeypatch.setattr(loop, "step", noting)
    return seen


def train(crops, phases, checkpoints=None, *, settings=ACROSS):
    images, cameras, _ = crops
    model = new_embedder(small(embedding="before_neck"), seed=0)
    history = loop.train(model, images, cameras, phases=phases, settings=settings, checkpoints=checkpoints)
    return model, history


def test_a_turn_makes_labels_once_and_keeps_classifiers_through_its_epochs(crops, noted):
    asked = []
    _, history = train(crops, phases_of(crops, asked=asked))
    assert asked == [0, 3, 5]
    assert [curve["made"] for curve in history.curves] == [0, 0, 0, 3, 3, 5, 5]
    for first, second in ((0, 1), (1, 2), (3, 4), (5, 6)):
        np.testing.assert_array_equal(history.labels[first], history.labels[second])
        last = [each for each in noted if each["epoch"] == first][-1]
        following = next(each for each in noted if each["epoch"] == second)
        assert following["known"] == last["known"] or last["iteration"] == 0
        # trained on from where the epoch before left it, not drawn anew at deviation .001
        assert not torch.equal(following["classifier"], next(e for e in noted if e["epoch"] == first)["classifier"])
        if first in (0, 1, 5):
            assert following["classifier"].std() > 0.0015
    for begun in (0, 3, 5):
        start = next(each for each in noted if each["epoch"] == begun)
        assert start["classifier"].std() == pytest.approx(0.001, rel=0.2)
        assert start["known"] == 0  # no momentum of the turn before
        assert start["batches_of_neck"] == 0 and torch.equal(start["neck"], torch.ones(256))


def test_each_phase_has_its_own_batches_optimiser_rate_and_groups(crops, noted):
    train(crops, phases_of(crops))
    _, cameras, people = crops
    for each in noted:
        inside = each["epoch"] in (0, 1, 2, 5, 6)
        assert each["optimiser"] == ("Adam" if inside else "SGD")
        assert each["rates"][:2] == pytest.approx([5e-4, 1e-3] if inside else [0.01, 0.01])
        assert each["decay"] == ({1e-3} if inside else {5e-4})
        assert each["group"] == (4 if inside else 64)
        assert each["images"] == (2 * 4 if inside else 16)
    counts = {epoch: sum(each["epoch"] == epoch for each in noted) for epoch in range(7)}
    size = {"clusters_per_batch": 4, "images_per_cluster": 4}
    assert batches_of_a_pass(people, cameras, **size) == 3
    assert counts == {0: 4, 1: 4, 2: 4, 3: 3, 4: 3, 5: 4, 6: 4}


def test_without_these_values_every_epoch_is_labelled_and_nothing_but_the_optimisers_kind_is_new(crops, noted):
    asked = []
    train(crops, phases_of(crops, keeps=False, renews=False, asked=asked))
    assert asked == list(range(7))
    firsts = [next(each for each in noted if each["epoch"] == epoch) for epoch in range(7)]
    assert [each["known"] > 0 for each in firsts] == [False, True, True, False, True, False, True]
    assert firsts[3]["batches_of_neck"] > 0


@pytest.fixture(scope="module")
def uninterrupted(crops):
    return train(crops, phases_of(crops))


@pytest.mark.parametrize("at", [5, 12, 16])  # inside a turn, between two turns, between two epochs of one
def test_a_run_that_is_killed_goes_on_with_the_same_bits(crops, uninterrupted, tmp_path, monkeypatch, at):
    expected, history = uninterrupted
    step, steps = loop.step, [0]

    def killed(*arguments):
        if steps[0] == at:
            raise RuntimeError("killed")
        steps[0] += 1
        step(*arguments)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr(loop, "step", killed)
        train(crops, phases_of(crops), Checkpoints(tmp_path, minutes=1e-6))
    found, again = train(crops, phases_of(crops), Checkpoints(tmp_path))
    assert again.curves == history.curves
    np.testing.assert_array_equal(np.stack(again.labels), np.stack(history.labels))
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_the_weight_of_agreeing_classifiers_falls_from_round_to_round():
    assert [ROUNDS.begin(epoch) for epoch in range(11)] == [0] * 5 + [5] * 5 + [10]
    assert [ROUNDS.newest_local(epoch) for epoch in (3, 4, 8)] == [2, 2, 7]
