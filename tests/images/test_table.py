"""Tables: what is written is what is read, and nothing wrong passes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.images.table import (
    read_identities,
    read_index,
    split_rows,
    write_identities,
    write_index,
)


def index_of(train: int = 3, query: int = 1, gallery: int = 2) -> pd.DataFrame:
    rows = [
        (split, row)
        for split, count in (("train", train), ("query", query), ("gallery", gallery))
        for row in range(count)
    ]
    return pd.DataFrame(
        {
            "image": [f"{number:016x}" for number in range(len(rows))],
            "split": [split for split, _ in rows],
            "row": np.array([row for _, row in rows], dtype=np.int32),
            "camera": np.arange(len(rows), dtype=np.int16) % 2,
            "tracklet": np.full(len(rows), -1, dtype=np.int32),
            "frame": np.arange(len(rows), dtype=np.int32) - 1,
        }
    )


def folder_of(folder: Path, index: pd.DataFrame) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in index.groupby("split").size().items():
        np.save(folder / f"{split}.npy", np.zeros((rows, 2, 2, 3), dtype=np.uint8))
    write_index(folder / "index.parquet", index)
    return folder


def test_index_round_trip(tmp_path: Path) -> None:
    index = index_of()
    found = read_index(folder_of(tmp_path, index))
    pd.testing.assert_frame_equal(found, index, check_dtype=False)
    assert {name: str(found[name].dtype) for name in ("row", "camera", "tracklet", "frame")} == {
        "row": "int32",
        "camera": "int16",
        "tracklet": "int32",
        "frame": "int32",
    }
    assert split_rows(found, "gallery")["row"].tolist() == [0, 1]
    assert split_rows(found, "gallery").index.tolist() == [0, 1]
    with pytest.raises(ValueError, match="split 'test'; expected one of"):
        split_rows(found, "test")


def test_only_train(tmp_path: Path) -> None:
    assert len(read_index(folder_of(tmp_path, index_of(4, 0, 0)))) == 4


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    write_index(tmp_path / "a.parquet", index_of())
    write_index(tmp_path / "b.parquet", index_of())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": ["0" * 16] * 6}, "is there twice"),
        ({"image": ["0" * 15 + "G"] * 6}, "expected 16 hex digits"),
        ({"image": [f"{9 - number:016x}" for number in range(6)]}, "not ordered by split"),
        ({"split": ["train", "gallery", "train", "query", "gallery", "gallery"]}, "not ordered by split"),
        ({"split": ["train"] * 5 + ["test"]}, r"split \['test'\]"),
        ({"row": [0, 1, 1, 0, 0, 1]}, "'row' is not the rank"),
        ({"camera": [-1] * 6}, "camera -1; expected 0 or more"),
        ({"frame": [-2] * 6}, "frame -2; expected -1 or more"),
        ({"camera": [2**15] * 6}, "does not fit its column"),
        ({"frame": [0.5] * 6}, "does not fit its column"),
    ],
)
def test_a_wrong_index_is_not_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=rf"index\.parquet: .*{message}"):
        write_index(tmp_path / "index.parquet", index_of().assign(**change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["camera"]), "no column 'camera'; expected"),
        (lambda table: table.append_column("identity", table["row"]), "'identity' does not belong"),
        (lambda table: table.set_column(3, "camera", table["camera"].cast(pa.int64())), "'camera' is int64; expected"),
        (lambda table: table.slice(0, 5), r"gallery\.npy: 2 rows, but 1 in"),
        (lambda table: table.set_column(3, "camera", pa.nulls(6, pa.int16())), "6 values of 'camera' are missing"),
        (lambda table: table.take([1, 0, 2, 3, 4, 5]), "not ordered"),
    ],
)
def test_a_wrong_index_is_not_read(tmp_path: Path, change, message: str) -> None:
    path = folder_of(tmp_path, index_of()) / "index.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ValueError, match=message):
        read_index(tmp_path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.parquet: no such file"):
        read_index(tmp_path)
    path = folder_of(tmp_path, index_of()) / "index.parquet"
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[:-10], whole[:100] + whole[-100:]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a parquet table, or a damaged one"):
            read_index(tmp_path)
    path.write_bytes(whole)
    (tmp_path / "query.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"query\.npy: no such file"):
        read_index(tmp_path)


def test_identities(tmp_path: Path) -> None:
    index = index_of()
    path = tmp_path / "identities.parquet"
    some = pd.DataFrame({"image": index["image"][:2], "identity": [0, 5], "name": ["a", "é=cmd()"]})
    write_identities(path, some)
    assert read_identities(path, index).to_dict("list") == some.to_dict("list")
    write_identities(path, some.iloc[:0])
    assert len(read_identities(path, index)) == 0
    with pytest.raises(ValueError, match="identity -1; expected 0"):
        write_identities(path, some.assign(identity=[-1, 0]))
    write_identities(path, some.assign(image=["f" * 16, "0" * 16]))
    with pytest.raises(ValueError, match=r"1 of 2 images are not in the index .*'a'"):
        read_identities(path, index)


@given(
    st.dictionaries(
        st.integers(0, 2**64 - 1),
        st.tuples(st.integers(0, 2), st.integers(0, 2**15 - 1), st.integers(-1, 2**31 - 1), st.integers(-1, 2**31 - 1)),
        min_size=2,
        max_size=12,
    ),
    st.randoms(),
)
@settings(max_examples=25, deadline=None)
def test_any_index_comes_back_and_no_other_order_of_its_rows(tmp_path_factory, images, random) -> None:
    rows = sorted((split, f"{number:016x}", *rest) for number, (split, *rest) in images.items())
    seen = [0, 0, 0]
    table = []
    for split, image, camera, tracklet, frame in rows:
        table.append((image, ("train", "query", "gallery")[split], seen[split], camera, tracklet, frame))
        seen[split] += 1
    index = pd.DataFrame(table, columns=["image", "split", "row", "camera", "tracklet", "frame"])
    folder = folder_of(tmp_path_factory.mktemp("images"), index)
    assert list(read_index(folder).itertuples(index=False, name=None)) == table
    order = random.sample(range(len(table)), len(table))
    if order != sorted(order):
        shuffled = pq.read_table(folder / "index.parquet").take(order)
        pq.write_table(shuffled, folder / "index.parquet")
        with pytest.raises(ValueError, match=r"not ordered by split|not the rank"):
            read_index(folder)


def test_formulas_and_huge_strings_are_told_in_short(tmp_path: Path) -> None:
    path = folder_of(tmp_path, index_of()) / "index.parquet"
    table = pq.read_table(path)
    for image in ("=cmd|' /C calc'!A0", "A" * 10_000_000):
        images = pa.array([image, *table["image"].to_pylist()[1:]])
        pq.write_table(table.set_column(0, "image", images), path)
        with pytest.raises(ValueError, match="expected 16 hex digits") as caught:
            read_index(tmp_path)
        assert len(str(caught.value)) < 300
        pq.write_table(table.set_column(1, "split", images), path)
        with pytest.raises(ValueError, match=r"split \[.*expected some of") as caught:
            read_index(tmp_path)
        assert len(str(caught.value)) < 300
