"""The lines of README.md and docs/after-training.md that a person is told to run after training are run."""

import re
import shlex
import shutil

import pytest

from reidlib.commands.table import main
from reidlib.serve.server import PageServer
from tests.repository import ROOT


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch, model_file, crops):
    """What the pages speak of: a model, crops of two cameras, queries, a folder in Market-1501's manner, a table."""
    shutil.copy(model_file, tmp_path / "model.safetensors")
    for camera, own in (("entrance", "door"), ("yard", "yard")):
        for number in range(6):
            shutil.copytree(crops / own / f"person{number}", tmp_path / "crops" / camera / str(number))
    shutil.copytree(crops / "door/person1", tmp_path / "queries")
    shutil.copy(crops / "door/person2/001.png", tmp_path / "query.jpg")  # told by content, not by name
    (tmp_path / "market").mkdir()
    shutil.copy(crops / "yard/person2/000.png", tmp_path / "market/0002_c1s1_000451_03.png")
    files = sorted((tmp_path / "crops").rglob("*.png"))
    lines = [f"{file.relative_to(tmp_path)},2024-05-01T12:{minute:02d}" for minute, file in enumerate(files)]
    (tmp_path / "rows.csv").write_text("\n".join(["path,time", *lines]))
    monkeypatch.setattr(PageServer, "serve_forever", lambda _: None)  # it listens, and ends at once
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(text):
    """Every command line of the shell blocks, without those that install."""
    lines = [shlex.split(line, comments=True) for block in blocks(text, "sh") for line in block.splitlines()]
    free = {"serve": ["--port", "0"]}  # whatever else listens on this machine
    return [line[1:] + free.get(line[1], []) for line in lines if line and line[0] == "reidlib"]


def test_the_readmes_lines_find_who_it_is(place, capsys):
    text = (ROOT / "README.md").read_text().partition("## After training")[2].partition("\n## ")[0]
    lines = commands(text)
    assert [line[0] for line in lines] == ["index", "search", "serve"]
    for line in lines:
        main(line)
    first = next(line for line in capsys.readouterr().out.splitlines() if "crops/" in line)
    assert "crops/entrance/2/001.png" in first
    (python,) = blocks(text, "python")
    exec(python, {})


def test_the_page_after_training_can_be_pasted(place, capsys):
    text = (ROOT / "docs/after-training.md").read_text()
    for line in commands(text):
        main(line)
    assert (place / "answers.csv").is_file() and (place / "crops.npy").is_file()
    (python,) = blocks(text, "python")
    exec(python, {})
    told = capsys.readouterr().out
    assert "index ivf, measured recall" in told and "entrance" in told
    assert not (place / "people").is_file() and len(commands(text)) >= 9
