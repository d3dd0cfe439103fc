"""Which edits an interrupted training survives: those of files that it has not loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

import stages

ROOT = Path(__file__).parents[2]
PROGRAM = """
import stages.train_inter
from reidlib.training.session import code_files
print(*(path.relative_to({root!r}) for path in code_files()), sep="\\n")
"""


@pytest.mark.slow
def test_the_code_of_a_run_is_what_the_stage_loads(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT)).replace("path.relative_to", "path.resolve().relative_to"))
    done = subprocess.run(
        [sys.executable, "-c", program.read_text()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"stages/train_inter.py", "reidlib/training/loop.py", "reidlib/losses/cluster_memory.py",
            "reidlib/labels/icsr.py", "reidlib/models/embedder.py"} <= loaded  # fmt: skip
    for other in ("reidlib/commands/", "reidlib/report/", "reidlib/archives/", "reidlib/synthetic/",
                  "reidlib/retrieval/", "reidlib/settings.py", "reidlib/check.py", "reidlib/running.py",
                  "stages/evaluate.py"):  # fmt: skip
        assert not any(path.startswith(other) for path in loaded), other


@pytest.mark.parametrize("processes", ["0", "-1", "two", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, processes):
    monkeypatch.setenv("REID_NPROC", processes)
    with pytest.raises(SystemExit, match="REID_NPROC: expected a number of processes"):
        stages.run_in_processes(lambda: None)
