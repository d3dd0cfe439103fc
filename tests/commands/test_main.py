"""The command line: what it offers, how light it is, how an expected error is told."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import reidlib
from reidlib.commands.table import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_help_names_every_command_and_loads_no_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reidlib", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name, module in COMMANDS.items():
        assert re.search(rf"^    {name}\s", done.stdout, re.MULTILINE)  # a long name stands on a line of its own
        assert module.HELP.split(":")[0] in " ".join(done.stdout.split())
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {f"reidlib.commands.{name}" for name in COMMANDS} <= loaded
    assert not loaded & {"torch", "timm", "hydra", "dvc", "matplotlib", "numba", "faiss"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    told = capsys.readouterr().out
    assert f"usage: reidlib {name}" in told and f"example:\n  reidlib {name}" in told


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"reidlib {reidlib.__version__}\n"


def test_an_expected_error_is_one_line(tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["show", str(tmp_path)])
    assert caught.value.code == f"error: {tmp_path}: expected <stage>.json files, found none; run `dvc repro` first"


def test_an_unknown_command_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compile"])
    told = capsys.readouterr().err
    assert all(name in told for name in COMMANDS)


@pytest.mark.parametrize(
    ("name", "words"), [("compose", "Hydra is not installed"), ("compare", "DVC is not installed")]
)
def test_the_pipelines_commands_name_the_extra_that_they_lack(name, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra", None)
    monkeypatch.setitem(sys.modules, "dvc.exceptions", None)
    with pytest.raises(SystemExit) as caught:
        main([name])
    assert words in caught.value.code and "reidlib[pipeline]" in caught.value.code
