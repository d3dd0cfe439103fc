"""What is known of pictures: told by folders, names and tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidlib.gallery.rows import (
    complete,
    filtered,
    row_numbers,
    rows_by_csv,
    rows_by_folders,
    rows_by_names,
    tracklet_groups,
)  # fmt: skip


def records(table):
    return table.drop(columns="path").to_dict("records")


def test_folders_are_cameras_and_tracklets(tmp_path):
    files = [tmp_path / name for name in ("a.jpg", "door/b.jpg", "door/7/c.jpg", "yard/7/x/d.jpg")]
    table = rows_by_folders(files, tmp_path)
    assert table["path"].tolist() == list(map(str, files))
    assert table["camera"].tolist() == ["", "door", "door", "yard"]
    assert table["tracklet"].tolist() == ["", "", "7", "7/x"]
    assert table["time"].isna().all() and (table["identity"] == "").all()
    assert records(rows_by_folders([files[1]], files[1]))[0]["camera"] == ""
    assert records(rows_by_folders([tmp_path / "door/7/000451_t18.040s.jpg"], tmp_path))[0]["time"] == 18.04


def test_names_tell_by_a_pattern():
    pattern = r"/(?P<identity>\d+)_c(?P<camera>\d)s\d_(?P<time>\d+)"
    (told,) = records(rows_by_names([Path("/x/0002_c1s1_000451_03.jpg")], pattern))
    assert told == {"camera": "1", "time": 451.0, "tracklet": "", "identity": "0002"}
    for wrong, words in (
        ("(", "no regular expression"), ("x", "expected groups like"), ("(?P<colour>x)", "found colour"),
        (r"(?P<camera>\d+)", "does not match 1 of 1: /x/y.jpg"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            rows_by_names([Path("/x/y.jpg")], wrong)


def test_a_table_tells(tmp_path):
    files = [tmp_path / "b.jpg", tmp_path / "a.jpg"]
    path = tmp_path / "rows.csv"
    path.write_text("path,camera,time\na.jpg,1,1970-01-02\nb.jpg,02,5\nother.jpg,3,\n")
    table = rows_by_csv(files, path)
    assert table["camera"].tolist() == ["02", "1"] and table["time"].tolist() == [5, 86400]
    with pytest.raises(ValueError, match=r"tells nothing of 1 of 1 pictures: .*c.jpg"):
        rows_by_csv([tmp_path / "c.jpg"], path)
    path.write_text("path,colour\na.jpg,red\n")
    with pytest.raises(ValueError, match=r"expected the columns path and any of camera, time, .*found colour, path"):
        rows_by_csv(files, path)
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        rows_by_csv(files, tmp_path / "nowhere.csv")


def table():
    rows = pd.DataFrame({"path": [f"/g/{name}" for name in ("a/1", "a/2", "b/1", "c")], "camera": ["x", "x", "y", "x"],
                         "tracklet": ["1", "1", "1", ""], "time": [1.0, 2.0, np.nan, 4.0]})  # fmt: skip
    return complete(rows)


def test_a_tracklet_is_of_one_camera():
    first, second, other_camera, alone = tracklet_groups(table())
    assert first == second and len({first, other_camera, alone}) == 3


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, None), ({"cameras": ["x"]}, [0, 1, 3]), ({"since": 2.0}, [1, 3]), ({"until": 2.0, "cameras": ["x"]}, [0, 1])],
)
def test_filters(limits, expected):
    none = {"cameras": None, "since": np.nan, "until": np.nan, "where": Path("g")}
    found = filtered(pd.Categorical(table()["camera"]), table()["time"].to_numpy(), **(none | limits))
    assert found is None if expected is None else np.flatnonzero(found).tolist() == expected


def test_an_unknown_camera_is_named():
    with pytest.raises(ValueError, match="g: expected cameras among x, y; found z"):
        filtered(
            pd.Categorical(["x", "y"]), np.zeros(2), cameras=["x", "z"], since=np.nan, until=np.nan, where=Path("g")
        )


def test_rows_go_by_number_path_and_folder():
    assert row_numbers(table(), [3, 0], where=Path("g")).tolist() == [0, 3]
    assert row_numbers(table(), ["/g/a", Path("/g/c")], where=Path("g")).tolist() == [0, 1, 3]
    for strange in ([4], ["/g/nothing"], [-1]):
        with pytest.raises(ValueError, match="expected some of its 4 rows"):
            row_numbers(table(), strange, where=Path("g"))
