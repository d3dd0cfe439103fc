import os
import shutil
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from reidlib.training.checkpoint import (
    Checkpoints,
    _flatten,
    _unflatten,
    fingerprint,
    lock_folder,
    stop_requests,
    unpack,
)

LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)
STATES = st.dictionaries(
    st.text(max_size=4) | st.integers(0, 9),
    st.recursive(
        LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.integers(0, 9), part, max_size=3)
    ),
    max_size=4,
)


@given(STATES, st.integers(0, 2**31))
def test_a_state_comes_back_as_it_was(state, seed):
    import json

    values = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 2)))
    whole = {"state": state, "nested": {3: [values, values[0]]}}
    tensors, rest = _flatten(whole)
    back = _unflatten(json.loads(rest), tensors)
    assert back["state"] == state
    assert torch.equal(back["nested"][3][0], values) and torch.equal(back["nested"][3][1], values[0])


def saved(folder, count):
    checkpoints = Checkpoints(folder)
    for number in range(count):
        checkpoints.save({"number": number, "weights": torch.full((4,), float(number))})
    checkpoints.wait()
    return checkpoints


def test_the_two_newest_are_kept_and_a_new_run_finds_the_newest(tmp_path, capsys):
    saved(tmp_path, 5)
    assert len(list(tmp_path.glob("*"))) == 2
    content = Checkpoints(tmp_path).newest()
    state = unpack(content)
    assert state["number"] == 4 and torch.equal(state["weights"], torch.full((4,), 4.0))
    assert set(load(content)) == {"0"}  # the format is safetensors: no pickle is read
    again = saved(tmp_path, 1)
    assert again.newest() is not None and len(list(tmp_path.glob("*"))) == 2
    assert sorted(path.name[:6] for path in tmp_path.glob("*")) == ["000005", "000006"]


@pytest.mark.parametrize("harm", ["torn", "flipped", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, harm):
    saved(tmp_path, 2)
    newest = max(tmp_path.glob("*"))
    content = bytearray(newest.read_bytes())
    if harm == "flipped":
        content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content if harm == "flipped" else content[: len(content) // 2 * (harm == "torn")]))
    assert unpack(Checkpoints(tmp_path).newest())["number"] == 0
    assert f"{newest}: not a whole checkpoint" in capsys.readouterr().out


def test_nothing_is_kept_without_a_folder_and_nothing_found_in_an_empty_one(tmp_path):
    alone = Checkpoints()
    alone.save({"number": 1})
    alone.wait()
    assert alone.newest() is None and not alone.due()
    assert Checkpoints(tmp_path / "none").newest() is None


def test_a_full_disk_is_reported_and_the_checkpoint_before_stays(tmp_path, capsys, monkeypatch):
    checkpoints = saved(tmp_path, 1)
    before = sorted(path.name for path in tmp_path.glob("*"))

    def full(tensors, path, metadata):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("reidlib.training.checkpoint.save_file", full)
        checkpoints.save({"number": 1})
        checkpoints.wait()
    assert "checkpoint not written" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*")) == before
    checkpoints.save({"number": 2})
    checkpoints.wait()
    assert unpack(Checkpoints(tmp_path).newest())["number"] == 2


def test_a_checkpoint_is_due_after_its_minutes(tmp_path):
    assert Checkpoints(tmp_path, minutes=1e-9).due()
    assert not Checkpoints(tmp_path, minutes=10).due()
    assert Checkpoints(tmp_path / "a").part("b").folder == tmp_path / "a" / "b"


def test_foreign_content_is_refused():
    for content in (b"", b"12345678", b"\x80\x04N." * 9):
        with pytest.raises(ValueError, match="not a whole checkpoint"):
            unpack(content)


def test_the_fingerprint_tells_values_and_contents_apart(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = fingerprint([tmp_path / "a"], {"rate": 1})
    assert first == fingerprint([tmp_path / "a"], {"rate": 1})
    assert first != fingerprint([tmp_path / "a"], {"rate": 2})
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "x").write_text("1")
    assert first == fingerprint([tmp_path / "a"], {"rate": 1})
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "a")
    assert first == fingerprint([tmp_path / "elsewhere" / "a"], {"rate": 1})
    (tmp_path / "a" / "x").write_text("2")
    assert first != fingerprint([tmp_path / "a"], {"rate": 1})


def test_a_second_process_is_kept_out_and_a_finished_run_leaves_nothing(tmp_path):
    folder = tmp_path / "run"
    with lock_folder(folder):
        with pytest.raises(ValueError, match=rf"pid {os.getpid()}\) trains this very run"), lock_folder(folder):
            pass
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(KeyError), lock_folder(folder):
        raise KeyError
    assert folder.is_dir()  # an unfinished run keeps its checkpoints
    with lock_folder(folder):
        pass


def test_a_signal_is_noted_once_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as stop:
        assert stop() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before  # a second one ends the process
    assert signal.getsignal(signal.SIGTERM) == before
