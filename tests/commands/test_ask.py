"""`reidlib ask` on a small set: it asks, keeps, undoes, lists, takes, and refuses what contradicts."""

import csv

import numpy as np
import pandas as pd
import pytest
import yaml

from reidlib.commands.ask import ask, main
from reidlib.commands.compose import compose_values
from reidlib.images.names import write_names
from reidlib.images.split import image_id, write_rows
from reidlib.labels.asking import open_asking
from reidlib.labels.links import read_links
from reidlib.tables import write_array

PEOPLE, IMAGES = 12, 96


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset as the pipeline leaves it, as far as it is needed here: paths that tell who it is, in order of ids."""
    folder = tmp_path_factory.mktemp("ask")
    data = folder / "data/synthetic"
    generator = np.random.default_rng(0)
    paths = [f"cam{number % 2}/{number % PEOPLE:02}_{number:03}.jpg" for number in range(IMAGES)]
    paths = sorted(paths, key=lambda path: image_id(path.encode()))
    people = np.array([int(path.split("/")[1][:2]) for path in paths])
    cameras = np.array([int(path[3]) for path in paths], np.int16)
    ids = [image_id(path.encode()) for path in paths]
    rows = pd.DataFrame({"image": ids, "camera": cameras, "tracklet": np.int32(-1), "frame": np.int32(-1)})
    write_rows(data / "images/train", rows)
    write_array(data / "images/train/pixels.npy", np.zeros((IMAGES, 2, 2, 3), np.uint8))
    for name, width in (("train", 24), ("colours", 16)):
        rows_of = generator.normal(size=(PEOPLE, width))[people] + 1.1 * generator.normal(size=(IMAGES, width))
        rows_of /= np.linalg.norm(rows_of, axis=1, keepdims=True)
        write_array(data / f"features/{name}.npy", rows_of.astype(np.float32))
    camera_names = [f"cam{camera}" for camera in cameras]
    write_names(
        data / "names.parquet", pd.DataFrame({"image": ids, "path": paths, "camera": camera_names, "tracklet": ""})
    )
    (folder / "params.yaml").write_text(yaml.safe_dump(compose_values([])))
    return folder


@pytest.fixture
def repository(made, monkeypatch):
    (made / "data/synthetic/links.csv").unlink(missing_ok=True)
    monkeypatch.chdir(made)
    return made / "data/synthetic/links.csv"


def params():
    return compose_values([])


def person(path: str) -> str:
    return path.split("/")[1][:2]


def test_it_asks_and_keeps_every_answer_at_once(repository, capsys):
    asking, typed = open_asking(params()), []

    def read(_):
        shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  cam")]
        if len(typed) == 12:
            return "q"
        typed.append("s" if person(shown[0]) == person(shown[1]) else "d")
        assert len(read_links(repository, asking.split) if repository.exists() else []) == len(typed) - 1
        return typed[-1]

    ask(asking, 100, read)
    told = list(csv.DictReader(repository.read_text().splitlines()))
    assert [{"same": "s", "different": "d"}[line["answer"]] for line in told] == typed and len(told) == 12
    assert {*typed} <= {"s", "d"}
    assert all((line["answer"] == "same") == (person(line["first"]) == person(line["second"])) for line in told)
    again = open_asking(params())
    assert again.answers == asking.answers
    asked = {frozenset(line[:2]) for line in again.answers}
    assert not asked & {frozenset(map(again.name, pair)) for pair in again.propose(50)}


def test_skip_undo_and_other_keys(repository, capsys):
    asking = open_asking(params())
    keys = iter(["x", "k", "u", "k", "s", "q"])
    ask(asking, 5, lambda _: next(keys))
    assert [answer for *_, answer in asking.answers] == ["skip", "same"]
    assert "1 same, 0 different" in capsys.readouterr().out
    assert len(asking.constraints().apart) == 0
    keys = iter(["u", "u", "u"])
    ask(asking, 1, lambda _: next(keys, "q"))
    assert asking.answers == [] and repository.read_text() == "first,second,answer\n"


def test_a_list_is_written_answered_and_taken(repository, tmp_path, capsys):
    main(["--list", str(tmp_path / "pairs.csv"), "--count", "6"])
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    assert len(lines) == 7 and all(line.endswith(",") for line in lines[1:])
    lines[1] += "same"
    lines[3] += "different"
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    main(["--take", str(tmp_path / "pairs.csv")])
    main(["--take", str(tmp_path / "pairs.csv")])
    assert repository.read_text().splitlines() == [lines[0], lines[1], lines[3]]
    assert "2 answers more, 2 in all" in capsys.readouterr().out


def test_an_answer_that_contradicts_is_shown_and_not_kept(repository):
    asking = open_asking(params())
    asking.answer(0, 1, "same")
    asking.answer(1, 2, "same")
    with pytest.raises(ValueError, match=r"this answer.*but the same by cam.*\.jpg = cam.*links.csv, line 2"):
        asking.answer(0, 2, "different")
    assert len(asking.answers) == 2 and len(read_links(repository, asking.split)) == 2


def test_options_that_cannot_be_are_refused(capsys):
    for wrong in (["--count", "0"], ["--list", "a.csv", "--take", "b.csv"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert "expected --count" in capsys.readouterr().err
