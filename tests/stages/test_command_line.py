import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reidlib import running
from reidlib.commands.compose import main


def test_paths_become_options(monkeypatch, tmp_path):
    seen = {}

    def stage(*, raw: Path, some_labels: Path) -> None:
        seen.update(raw=raw, some_labels=some_labels)

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a/b", "--some-labels", "c.parquet"])
    running.run(stage)
    assert seen == {"raw": Path("a/b"), "some_labels": Path("c.parquet")}


@pytest.mark.parametrize("error", [ValueError("no such thing"), FileNotFoundError("gone")])
def test_an_expected_error_is_one_message(monkeypatch, error):
    def stage(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(SystemExit) as caught:
        running.run(stage)
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
        running.run(stage)
    message = str(caught.value)
    assert message.startswith("error: not enough memory (") and "\n" not in message
    assert all(key in message for key in ("train_inter.clusters_per_batch", "extract.batch_size", "embed.batch_size"))


@pytest.mark.parametrize("error", [KeyError("bug"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")])
def test_an_error_of_ours_keeps_its_traceback(monkeypatch, error):
    def stage(*, raw: Path) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["stage", "--raw", "a"])
    with pytest.raises(type(error)):
        running.run(stage)


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
    running.run(lambda: None)
    assert ("every -S must be said again (-S dataset=folder …)" in capfd.readouterr().out) == told


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of so many cores, a quota on them and an environment; what is set on it."""

    def make(*, cores=8, quota="max 100000", unset=running.POOLS, **environment):
        (tmp_path / "cpu.max").write_text(quota + "\n")
        monkeypatch.setattr(running, "QUOTA", tmp_path / "cpu.max")
        monkeypatch.setattr(running, "UNSET", unset)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(os, "environ", dict(environment))
        return lambda: {os.environ.get(name) for name in running.POOLS}

    return make


@pytest.mark.parametrize(
    ("given", "processes", "expected"),
    [({}, 1, None), ({}, 4, "2"), ({}, 16, "1"), ({"quota": "250000 100000"}, 1, "2"),
     ({"quota": "50000 100000"}, 1, "1"), ({"quota": "900000 100000"}, 1, None),
     ({"quota": "400000 100000"}, 2, "2"), ({"REID_THREADS": "3"}, 1, "3"), ({"REID_THREADS": "3"}, 4, "3"),
     ({"REID_THREADS": "3", "OMP_NUM_THREADS": "5", "unset": ()}, 1, "3")],
)  # fmt: skip
def test_threads_are_those_of_the_process(machine, given, processes, expected):
    told = machine(**given)
    running.set_threads(processes)
    assert told() == {expected}
    assert os.environ["GOMP_SPINCOUNT"] == "20000"


def test_threads_that_are_set_already_stay(machine):
    told = machine(quota="200000 100000", unset=running.POOLS[1:], OMP_NUM_THREADS="5", OMP_WAIT_POLICY="ACTIVE")
    running.set_threads()
    assert told() == {"5", "2"}
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE" and "GOMP_SPINCOUNT" not in os.environ


def test_a_number_of_threads_that_is_none_is_refused(machine):
    machine(REID_THREADS="two")
    with pytest.raises(SystemExit, match="REID_THREADS: expected a number of threads, 1 or more; found 'two'"):
        running.set_threads()


def test_every_library_takes_the_threads_it_is_told():
    code = "import stages, torch, numba, faiss; print(torch.get_num_threads(), numba.get_num_threads(), end=' ')"
    code += "; print(faiss.omp_get_max_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"REID_THREADS": "1"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 1 1\n"


def test_freed_memory_is_not_filled_with_zeros_for_the_next_activation():
    code = """
import ctypes, resource
from reidlib import running
if not hasattr(ctypes.CDLL(None), "mallopt"):
    raise SystemExit("no glibc")
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):  # as the activations of a step come and go
        blocks = [library.malloc(size << 20) for size in (8, 16, 30)]
        for block, size in zip(blocks, (8, 16, 30)):
            ctypes.memset(block, 0, size << 20)
        for block in reversed(blocks):
            library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
running.keep_freed_memory()
faults()
print(before > 10 * faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "no glibc" in done.stderr:
        pytest.skip("another C library")
    assert done.stdout == "True\n", done.stderr
