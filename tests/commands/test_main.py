"""The command line: what it offers, how light it is, how an expected error is told."""

import subprocess
import sys
from pathlib import Path

import pytest

from reidlib.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_help_names_every_command_and_loads_no_torch():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reidlib", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name, module in COMMANDS.items():
        assert f"    {name} " in done.stdout and module.HELP.split(":")[0] in " ".join(done.stdout.split())
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "reidlib.commands.compare" in loaded
    assert not loaded & {"torch", "timm", "hydra", "dvc", "matplotlib", "numba"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: python -m reidlib {name}" in capsys.readouterr().out


def test_an_expected_error_is_one_line(tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["show", str(tmp_path)])
    assert caught.value.code == f"error: {tmp_path}: expected <stage>.json files, found none; run `dvc repro` first"


def test_an_unknown_command_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compile"])
    told = capsys.readouterr().err
    assert all(name in told for name in COMMANDS)
