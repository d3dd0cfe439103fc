"""A split's pixels and rows: what is written is what is read, and nothing wrong passes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.images.split import PIXELS_FILE, ROWS, ROWS_FILE, open_pixels, open_split, open_training, write_rows


def rows_of(count: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": [f"{number:016x}" for number in range(count)],
            "camera": np.arange(count, dtype=np.int16) % 2,
            "tracklet": np.full(count, -1, dtype=np.int32),
            "frame": np.arange(count, dtype=np.int32) - 1,
        }
    )


def folder_of(folder: Path, rows: pd.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / PIXELS_FILE, np.arange(len(rows) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3))
    write_rows(folder, rows)
    return folder


@pytest.mark.parametrize("count", [0, 1, 6])
def test_round_trip(tmp_path: Path, count: int) -> None:
    rows = rows_of().iloc[:count]
    split = open_split(folder_of(tmp_path, rows))
    pd.testing.assert_frame_equal(split.rows, rows, check_dtype=False)
    assert {name: str(kind) for name, kind in split.rows.dtypes.items() if name != "image"} == {
        name: kind for name, kind in ROWS.items() if name != "image"
    }
    assert len(split) == count and split.ids.tolist() == rows["image"].tolist()
    assert split.images.shape == (count, 2, 2, 3) and not split.images.flags.writeable
    np.testing.assert_array_equal(np.asarray(split.images).ravel(), np.arange(count * 12))
    np.testing.assert_array_equal(split.cameras, rows["camera"])
    np.testing.assert_array_equal(open_split(tmp_path, camera_labels=False).cameras, [0] * count)


def test_one_training_image_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 training images, found 1"):
        open_training(folder_of(tmp_path, rows_of(1)), camera_labels=True)
    assert open_training(folder_of(tmp_path, rows_of(2)), camera_labels=True).cameras.tolist() == [0, 1]


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (folder_of(tmp_path / name, rows_of()) / ROWS_FILE for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": ["0" * 16] * 6}, "is there twice"),
        ({"image": ["0" * 15 + "G"] * 6}, "expected 16 hex digits"),
        ({"image": [f"{9 - number:016x}" for number in range(6)]}, "not ordered by image"),
        ({"camera": [-1] * 6}, "camera -1; expected 0 or more"),
        ({"tracklet": [-2] * 6}, "tracklet -2; expected -1 or more"),
        ({"frame": [-2] * 6}, "frame -2; expected -1 or more"),
        ({"camera": [2**15] * 6}, "does not fit its column"),
        ({"frame": [0.5] * 6}, "does not fit its column"),
    ],
)
def test_wrong_rows_are_not_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=rf"rows\.parquet: .*{message}"):
        write_rows(tmp_path, rows_of().assign(**change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["camera"]), "no column 'camera'; expected"),
        (lambda table: table.append_column("identity", table["frame"]), "'identity' does not belong"),
        (lambda table: table.set_column(1, "camera", table["camera"].cast(pa.int64())), "'camera' is int64; expected"),
        (lambda table: table.slice(0, 5), r"pixels\.npy: 6 rows, but 5 in"),
        (lambda table: table.set_column(1, "camera", pa.nulls(6, pa.int16())), "6 values of 'camera' are missing"),
        (lambda table: table.take([1, 0, 2, 3, 4, 5]), "not ordered"),
    ],
)
def test_wrong_rows_are_not_read(tmp_path: Path, change, message: str) -> None:
    path = folder_of(tmp_path, rows_of()) / ROWS_FILE
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    with pytest.raises(ValueError, match=message):
        open_split(tmp_path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"rows\.parquet: no such file"):
        open_split(tmp_path)
    path = folder_of(tmp_path, rows_of()) / ROWS_FILE
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[:-10], whole[:100] + whole[-100:]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a parquet table, or a damaged one"):
            open_split(tmp_path)
    path.write_bytes(whole)
    (tmp_path / PIXELS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"pixels\.npy: no such file; run the stage unzip"):
        open_split(tmp_path)


@given(
    st.dictionaries(
        st.integers(0, 2**64 - 1),
        st.tuples(st.integers(0, 2**15 - 1), st.integers(-1, 2**31 - 1), st.integers(-1, 2**31 - 1)),
        min_size=2,
        max_size=12,
    ),
    st.randoms(),
)
@settings(max_examples=25, deadline=None)
def test_any_rows_come_back_and_in_no_other_order(tmp_path_factory, images, random) -> None:
    rows = sorted((f"{number:016x}", *rest) for number, rest in images.items())
    folder = folder_of(tmp_path_factory.mktemp("images"), pd.DataFrame(rows, columns=list(ROWS)))
    assert list(open_split(folder).rows.itertuples(index=False, name=None)) == rows
    order = random.sample(range(len(rows)), len(rows))
    if order != sorted(order):
        shuffled = pq.ParquetFile(folder / ROWS_FILE).read().take(order)
        pq.write_table(shuffled, folder / ROWS_FILE)
        with pytest.raises(ValueError, match="not ordered by image"):
            open_split(folder)


def test_formulas_and_huge_strings_are_told_in_short(tmp_path: Path) -> None:
    path = folder_of(tmp_path, rows_of()) / ROWS_FILE
    table = pq.ParquetFile(path).read()
    for image in ("=cmd|' /C calc'!A0", "A" * 10_000_000):
        images = pa.array([image, *table["image"].to_pylist()[1:]])
        pq.write_table(table.set_column(0, "image", images), path)
        with pytest.raises(ValueError, match="expected 16 hex digits") as caught:
            open_split(tmp_path)
        assert len(str(caught.value)) < 300


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.npy: no such file; run the stage unzip"):
        open_pixels(tmp_path / "train.npy")
    path = tmp_path / "train.npy"
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged"):
        open_pixels(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged"):
        open_pixels(path)
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes() + b"1")
    with pytest.raises(ValueError, match=r"damaged \(1,665 bytes, expected 1,664\); run the stage unzip again"):
        open_pixels(path)
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"float32 \(4, 16, 8, 3\); expected uint8"):
        open_pixels(path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="truncated or damaged"):
        open_pixels(path)


READER = """
import sys, pathlib
from reidlib.files import atomic_file
from reidlib.images.split import open_pixels
rows = open_pixels(pathlib.Path(sys.argv[1]))
with atomic_file(pathlib.Path(sys.argv[2])) as temporary:
    print(int(rows[0].sum()), flush=True)
    sys.stdin.readline()
    temporary.write_text(str(int(rows[-1].sum())))
"""


@pytest.mark.parametrize("change", ["replaced", "truncated"])
def test_a_file_changed_under_its_reader(tmp_path: Path, change: str) -> None:
    path, result = tmp_path / "train.npy", tmp_path / "sum.txt"
    np.save(path, np.ones((1000, 64, 32, 3), dtype=np.uint8))
    command = [sys.executable, "-c", READER, str(path), str(result)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"6144\n"
        if change == "replaced":  # as DVC and this library do: the reader keeps the file that it opened
            np.save(tmp_path / "new.npy", np.zeros((2, 64, 32, 3), dtype=np.uint8))
            (tmp_path / "new.npy").rename(path)
        else:  # in place, as neither does: the reader is killed, and what it was writing never appears
            os.truncate(path, 4096)
        process.communicate(b"\n", timeout=600)
    assert process.returncode == (0 if change == "replaced" else -signal.SIGBUS)
    assert result.exists() == (change == "replaced")
    if change == "replaced":
        assert result.read_text() == "6144"
    else:
        with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged .*run the stage unzip again"):
            open_pixels(path)
