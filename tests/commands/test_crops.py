"""`reidlib crops`: options reach what cuts; what was left out is printed; a detector where there are no boxes."""

import numpy as np
import pytest

from reidlib.commands.table import main
from tests.films import edit_bytes, make_footage


@pytest.fixture
def place(tmp_path, monkeypatch):
    make_footage(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_cameras_are_cut_and_counted(place, capsys):
    main(["crops", "door.mp4", "yard.mp4", "--boxes", "door.txt", "yard.txt", "--cameras", "entrance", "yard"])
    head, *rows, last = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(head) == "camera video boxes unsure tiny cut_off blurred alike unread crops tracklets"
    assert [row[:3] for row in rows] == [["entrance", "door.mp4", "36"], ["yard", "yard.mp4", "36"]]
    files = list((place / "crops").rglob("*.jpg"))
    assert last[:4] == ["wrote", "crops:", str(len(files)), "crops"] and len(files) == sum(int(row[-2]) for row in rows)
    assert {file.relative_to(place / "crops").parts[0] for file in files} == {"entrance", "yard"}


def test_values_of_rules_and_damage_are_told(place, capsys):
    with pytest.raises(SystemExit, match=r"not one crop is left of 36 boxes:[^$]*tiny"):
        main(["crops", "door.mp4", "--boxes", "door.txt", "--side-px", "40"])
    assert not (place / "crops").exists()
    (place / "all.txt").write_text((place / "door.txt").read_text() + "19,1,20,20,30,60,0.9\n")
    with pytest.raises(SystemExit, match="boxes up to frame 19, but the whole video has 18 frames"):
        main(["crops", "door.mp4", "--boxes", "all.txt"])
    with pytest.raises(SystemExit):
        main(["crops", "door.mp4", "yard.mp4", "--boxes", "door.txt"])
    assert "--boxes: expected 2, one for each video, found 1" in capsys.readouterr().err
    edit_bytes(place / "yard.mp4", lambda data: data[: len(data) // 2])
    with pytest.raises(SystemExit, match=r"yard\.mp4: cannot be read as a video .*cut off"):
        main(["crops", "door.mp4", "yard.mp4", "--boxes", "door.txt", "yard.txt"])
    assert not (place / "crops").exists()


def test_boxes_are_found_and_followed_where_there_are_none(place, monkeypatch):
    asked = {}

    def detector(what, *, weights, device):
        asked.update(what=what, weights=weights)
        return lambda pixels: np.array([[40.0, 24, 32, 64, 0.9], [96.0, 24, 32, 64, 0.8]])

    monkeypatch.setattr("reidlib.footage.detection.detector", detector)
    main(["crops", "door.mp4", "--of", "dog", "--keep-boxes", "found", "--to", "cut", "--alike", "0", "--blurred", "0"])
    assert asked == {"what": "dog", "weights": None}
    assert len((place / "found/door.txt").read_text().splitlines()) == 36
    tracklets = sorted((place / "cut/door").iterdir())
    assert [len(list(tracklet.iterdir())) for tracklet in tracklets] == [18, 18]
    main(["crops", "door.mp4", "--boxes", "found/door.txt", "--to", "again", "--alike", "0", "--blurred", "0"])
    names = [
        sorted(file.relative_to(place / where) for file in (place / where).rglob("*.*")) for where in ("cut", "again")
    ]
    assert names[0] == names[1]
