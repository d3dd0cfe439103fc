"""The Makefile in a folder of an unusual name: what it installs with, and where."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAKE = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" && for name in python uv; do cp "$0" "$3/bin/$name"; done
fi
printf '%s|' "$0" "$@" >> "$LOG"; echo >> "$LOG"
"""


@pytest.mark.parametrize("name", ["plain", "sp ace", "do$lar", "quo'te", "(paren) & ü", "a=b;c"])
def test_make_works_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text("uv==1.0 \\\n    --hash=sha256:00\nnumpy==2.0\n")
    (folder / "python").write_text(FAKE)
    (folder / "python").chmod(0o755)
    log = tmp_path / "log"
    environment = {"PATH": "/usr/bin:/bin", "LOG": str(log)}
    done = subprocess.run(
        ["make", "doctor", "PYTHON=./python"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    calls = [line.rstrip("|").split("|") for line in log.read_text().splitlines()]
    venv = f"{folder}/.venv/bin"
    assert calls[0] == ["./python", "-m", "venv", ".venv"]
    assert calls[1][:3] == [f"{venv}/python", "-m", "pip"]
    assert calls[2][:6] == [f"{venv}/uv", "pip", "sync", "--python", ".venv/bin/python", "--quiet"]
    assert calls[3] == [f"{venv}/python", "-m", "reidlib", "doctor"]
    assert (folder / ".venv/uv.txt").read_text().startswith("uv==1.0") and (folder / ".venv/installed").is_file()
