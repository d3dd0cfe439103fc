"""From videos and boxes to a folder of crops: what is kept, what is left out and counted, nothing half-written."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlib.archives.archive import list_archive
from reidlib.archives.readers import READERS
from reidlib.footage.boxes import read_boxes
from reidlib.footage.cutting import Footage, cut
from reidlib.footage.rules import LEFT_OUT, Box, Look, Rules, crop, look, thinned
from tests.films import edit_bytes, make_footage, turned, walk, write_video

EVERYTHING = Rules(score=0, side_px=0, cut_off=1, blurred=0, alike=0)
NOISE = np.random.default_rng(0).integers(0, 256, (96, 64, 3)).astype(np.uint8)


@pytest.fixture
def films(tmp_path):
    make_footage(tmp_path)
    return tmp_path


def footage_of(folder, *cameras):
    return [Footage(folder / f"{name}.mp4", name, read_boxes(folder / f"{name}.txt")) for name in cameras]


def test_crops_lie_as_the_reader_of_folders_takes_them(films):
    counted = cut(footage_of(films, "door", "yard"), films / "crops", rules=EVERYTHING)
    assert counted[["camera", "boxes", "crops", "tracklets", "unread", "damage"]].values.tolist() == [
        ["door", 36, 36, 6, 0, ""], ["yard", 36, 36, 6, 0, ""],
    ]  # fmt: skip
    assert not counted[list(LEFT_OUT)].to_numpy().any()
    files = {file.relative_to(films / "crops").as_posix(): file.read_bytes() for file in (films / "crops").rglob("*.*")}
    with zipfile.ZipFile(films / "crops.zip", "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    listing = READERS["folder"]([list_archive(films / "crops.zip")])
    told = {
        (listing.cameras[entry.camera], listing.tracklets[entry.tracklet], entry.frame, round(entry.time_seconds, 9))
        for entry in listing.entries
    }
    assert told == {
        (camera, f"{camera}-{track:06d}", first + number, round((first + number - 1) / 10, 9))
        for camera in ("door", "yard")
        for track, first in zip(range(1, 7), (0, 0, 6, 6, 12, 12), strict=True)
        for number in range(1, 7)
    }
    times = pd.read_csv(films / "crops/times.csv")
    assert set(times["path"]) == set(files) - {"times.csv"}
    name = "door/door-000003/000008_t0.700s.jpg"
    assert times.set_index("path")["time"][name] == 0.7
    drawn = np.random.default_rng(0).integers(0, 256, (6, 2, 3))[2]
    with Image.open(films / "crops" / name) as opened:
        found = np.asarray(opened).astype(float)
    assert found.shape == (64, 32, 3)
    np.testing.assert_allclose(found[4:28, 4:-4].mean((0, 1)), drawn[0], atol=12)
    np.testing.assert_allclose(found[38:, 4:-4].mean((0, 1)), drawn[1], atol=12)


def test_boxes_are_of_the_picture_as_it_is_shown(tmp_path):
    drawn = np.full((64, 128, 3), 20, np.uint8)
    drawn[:32, :48] = [220, 30, 30]
    path = edit_bytes(
        write_video(tmp_path / "a.mp4", [drawn] * 2), turned
    )  # upright: 128 high, 64 wide, red at the right
    (tmp_path / "a.txt").write_text("1,1,34,2,28,44,1\n")
    cut([Footage(path, "a", read_boxes(tmp_path / "a.txt"))], tmp_path / "crops", rules=EVERYTHING)
    (file,) = (tmp_path / "crops").rglob("*.jpg")
    with Image.open(file) as opened:
        np.testing.assert_allclose(np.asarray(opened).mean((0, 1)), [220, 30, 30], atol=25)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 20, 40, 0.2), "unsure"), ((10, 10, 20, 40, np.nan), (40, 20)), ((10, 10, 7, 40, 1), "tiny"),
        ((-5, 10, 20, 40, 1), "cut_off"), ((1, 10, 20, 40, 1), "cut_off"), ((43.5, 10, 20, 40, 1), "cut_off"),
        ((10, 60, 20, 40, 1), "cut_off"), ((10, 200, 20, 40, 1), "cut_off"), ((10.4, 10.6, 20, 40, 1), (41, 20)),
    ],
)  # fmt: skip
def test_a_box_alone_is_left_out_by_rule(box, expected):
    found = crop(NOISE, Box(*box), Rules(side_px=8))
    assert found == expected if isinstance(found, str) else found.shape[:2] == expected


def test_what_lies_outside_is_allowed_if_asked_for():
    rules = Rules(side_px=8, cut_off=1)
    assert crop(NOISE, Box(-5, 10, 20, 40, 1), rules).shape == (40, 15, 3)
    assert crop(NOISE, Box(-30, 10, 20, 40, 1), rules) == "cut_off"  # nothing of it is there


def test_blur_and_likeness_are_told_among_the_crops_of_a_tracklet():
    image = Image.fromarray(NOISE)
    soft = np.asarray(image.resize((8, 12)).resize((64, 96)))
    assert look(soft).sharpness < 0.5 * look(NOISE).sharpness
    half = look((NOISE // 2 + 60).astype(np.uint8)).sharpness  # of less contrast, and as sharp
    assert half == pytest.approx(look(NOISE).sharpness, rel=0.1)
    looks = [Look(sharp, np.full((16, 8, 3), shade, np.uint8)) for sharp, shade in
             [(1.0, 0), (0.9, 4), (1.1, 8), (0.4, 90), (1.0, 90), (1.2, 93)]]  # fmt: skip
    assert thinned(looks, Rules(blurred=0.5, alike=0.02)) == ["", "alike", "", "blurred", "", "alike"]
    assert thinned(looks, Rules(blurred=0.0, alike=0.0)) == [""] * 6 and thinned([], Rules()) == []


def test_what_is_left_out_is_counted_and_not_there(films):
    drawn, lines = walk(np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype(np.uint8), frames=5)
    drawn = [picture for picture in drawn for _ in range(2)]  # each frame twice
    twice = []
    for line in lines:
        frame, rest = line.split(",", 1)
        twice += [f"{2 * int(frame) - 1},{rest}", f"{2 * int(frame)},{rest}"]
    others = ["1,8,10,10,30,60,0.1", "2,9,10,10,10,60,0.9", "3,9,0,10,30,60,0.9"]
    write_video(films / "still.mp4", drawn)
    (films / "still.txt").write_text("\n".join([*twice, *others]))
    (row,) = cut(footage_of(films, "still"), films / "crops", rules=Rules(blurred=0.0)).to_dict("records")
    assert {name: row[name] for name in ("boxes", *LEFT_OUT)} == {
        "boxes": 23, "unsure": 1, "tiny": 1, "cut_off": 1, "blurred": 0, "alike": 10,
    }  # fmt: skip
    files = sorted(file.name[:6] for file in (films / "crops/still/still-000001").iterdir())
    assert row["crops"] == 10 and files == ["000001", "000003", "000005", "000007", "000009"]
    assert sorted(place.name for place in (films / "crops/still").iterdir()) == ["still-000001", "still-000002"]


def test_a_video_that_ends_early_is_cut_as_far_as_it_goes(films):
    drawn, lines = walk(np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype(np.uint8), frames=12, noise=20)
    path = write_video(films / "cut.mp4", drawn, movflags="faststart")
    (films / "cut.txt").write_text("\n".join(lines))
    edit_bytes(path, lambda data: data[: len(data) // 2])
    (row,) = cut(footage_of(films, "cut"), films / "crops", rules=EVERYTHING).to_dict("records")
    assert row["damage"] and row["unread"] > 0 and row["crops"] + row["unread"] == row["boxes"] == 24


def test_boxes_of_another_video_are_refused_and_nothing_is_left(films):
    table = read_boxes(films / "door.txt").assign(frame=lambda boxes: boxes["frame"] + 10)
    with pytest.raises(ValueError, match=r"door\.mp4: boxes up to frame 28, but the whole video has 18 frames"):
        cut([*footage_of(films, "yard"), Footage(films / "door.mp4", "door", table)], films / "crops", rules=EVERYTHING)
    assert not [path for path in films.iterdir() if "crops" in path.name]


def test_nothing_is_written_over_and_no_crops_are_an_error(films):
    (films / "full").mkdir()
    (films / "full" / "mine.txt").touch()
    with pytest.raises(ValueError, match="full: expected a new or empty folder"):
        cut(footage_of(films, "door"), films / "full", rules=EVERYTHING)
    (films / "empty").mkdir()
    with pytest.raises(ValueError, match=r"not one crop is left of 36 boxes:\n.*tiny"):
        cut(footage_of(films, "door"), films / "empty", rules=Rules(side_px=500))
    assert list((films / "empty").iterdir()) == []


def test_videos_of_one_camera_need_to_know_when_they_begin(films):
    one, other = footage_of(films, "door", "yard")
    with pytest.raises(ValueError, match="camera door has 2 videos, whose times would be mixed up"):
        cut([one, Footage(other.path, "door", other.boxes)], films / "crops", rules=EVERYTHING)
    with pytest.raises(ValueError, match="two videos of one name"):
        cut([one, one], films / "crops", rules=EVERYTHING)
    with pytest.raises(ValueError, match="say when each begins"):
        cut([Footage(each.path, "door", each.boxes, "60") for each in (one, other)], films / "crops", rules=EVERYTHING)
    starts = ("1970-01-01T00:00", "7200")
    both = [Footage(each.path, "hall", each.boxes, start) for each, start in zip((one, other), starts, strict=True)]
    cut(both, films / "crops", rules=EVERYTHING)
    times = pd.read_csv(films / "crops/times.csv").set_index("path")["time"]
    assert times["hall/door-000001/000002_t0.100s.jpg"] == 0.1
    assert times["hall/yard-000001/000001_t7200.000s.jpg"] == 7200
    for camera in ("", "a/b", "..", "Query"):
        with pytest.raises(ValueError, match="expected a name that a folder can have"):
            cut([Footage(one.path, camera, one.boxes)], films / "other", rules=EVERYTHING)
    with pytest.raises(ValueError, match="expected a start of 0 seconds or more"):
        cut([Footage(one.path, "door", one.boxes, "-3")], films / "other", rules=EVERYTHING)
