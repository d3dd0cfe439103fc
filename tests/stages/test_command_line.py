import sys
from pathlib import Path

import pytest
import torch

import stages
from reidlib.commands.compose import main


def test_paths_become_options(monkeypatch, tmp_path):
    seen = {}

    def stage(*, raw: Path, some_labels: Path) -> None:
        seen.update(raw=raw, some_labels=some_labels)

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a/b", "--some-labels", "c.parquet"])
    stages.run(stage)
    assert seen == {"raw": Path("a/b"), "some_labels": Path("c.parquet")}


@pytest.mark.parametrize("error", [ValueError("no such thing"), FileNotFoundError("gone")])
def test_an_expected_error_is_one_message(monkeypatch, error):
    def stage(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(SystemExit) as caught:
        stages.run(stage)
    assert str(caught.value).startswith(f"error: {error}\n(test_command_line.py:")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation"),
     RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: not enough memory: you tried to")],
)  # fmt: skip
def test_too_little_memory_is_answered_with_what_needs_less(monkeypatch, error):
    def stage(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(SystemExit) as caught:
        stages.run(stage)
    message = str(caught.value)
    assert message.startswith("error: not enough memory (") and "\n" not in message
    assert all(key in message for key in ("train_inter.clusters_per_batch", "extract.batch_size", "embed.batch_size"))


@pytest.mark.parametrize("error", [KeyError("bug"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")])
def test_an_error_of_ours_keeps_its_traceback(monkeypatch, error):
    def stage(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(type(error)):
        stages.run(stage)


@pytest.mark.parametrize(("dataset", "archive", "told"), [
    ("synthetic", "data/folder/raw/mine.zip", True), ("folder", "data/folder/raw/mine.zip", False),
    ("synthetic", "data/synthetic/raw/synthetic.zip", False),
])  # fmt: skip
def test_an_experiment_that_went_back_to_the_demo_says_so(monkeypatch, tmp_path, capfd, dataset, archive, told):
    monkeypatch.chdir(tmp_path)
    main(["dataset=" + dataset])
    (tmp_path / archive).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / archive).touch()
    capfd.readouterr()
    monkeypatch.setattr(sys, "argv", ["stage"])
    stages.run(lambda: None)
    assert ("every -S must be said again (-S dataset=folder …)" in capfd.readouterr().out) == told
