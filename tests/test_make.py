"""The Makefile in a folder of an unusual name: what it installs with, and where."""

import re
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
    assert calls[3:] == [[f"{venv}/python", "-m", "reidlib", "warm"], [f"{venv}/python", "-m", "reidlib", "doctor"]]
    assert (folder / ".venv/uv.txt").read_text().startswith("uv==1.0") and (folder / ".venv/installed").is_file()


def test_look_serves_the_demos_pictures_or_says_what_to_do_first(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("uv==1.0 \\\n    --hash=sha256:00\n")
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    log = tmp_path / "log"

    def look():
        environment = {"PATH": "/usr/bin:/bin", "LOG": str(log)}
        how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": False}
        return subprocess.run(["make", "look", "PYTHON=./python"], **how)

    assert "run 'make demo' first" in look().stderr
    (tmp_path / "data/synthetic/model").mkdir(parents=True)
    (tmp_path / "data/synthetic/model/model.safetensors").touch()
    log.unlink()
    done = look()
    assert done.returncode == 0 and "pictures to drop on the page: .scratch/look/query" in done.stdout, done.stderr
    unpack, index, serve = [line.rstrip("|").split("|")[1:] for line in log.read_text().splitlines()]
    assert unpack == ["-m", "zipfile", "-e", "data/synthetic/raw/synthetic.zip", ".scratch/look"]
    assert index[:4] == ["-m", "reidlib", "index", ".scratch/look/bounding_box_test/0*"]
    pattern = re.compile(index[index.index("--names") + 1])
    found = pattern.search("pictures/0027_c2s1_001631_03.jpg")
    assert found.groupdict() == {"tracklet": "0027_c2s1", "identity": "0027", "camera": "2", "time": "001631"}
    assert pattern.search("pictures/0000_c2s1_001631_03.jpg")["tracklet"] is None  # distractors are no one person
    assert serve == ["-m", "reidlib", "serve", ".scratch/look/gallery", "--open"]
