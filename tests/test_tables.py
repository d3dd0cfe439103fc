"""Typed tables, arrays and metrics: what is written is what is read, and nothing wrong passes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.tables import (
    open_embeddings,
    read_parquet,
    require_same_images,
    start_folder,
    write_array,
    write_csv,
    write_metrics,
    write_parquet,
)

COLUMNS = {"image": "string", "row": "int32", "share": "float"}


def table_of(rows: int = 6) -> pd.DataFrame:
    ids = [f"{number:016x}" for number in range(rows)]
    return pd.DataFrame({"image": ids, "row": range(rows), "share": [0.5] * rows})


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(-(2**31), 2**31 - 1), st.text()), unique_by=lambda row: row[0]
    )
)
@settings(max_examples=30, deadline=None)
def test_any_table_round_trips(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, str]]) -> None:
    rows = [(number, value, text.encode("utf-8", "replace").decode()) for number, value, text in rows]
    columns = {"image": "string", "value": "int32", "name": "string"}
    table = pd.DataFrame([(f"{number:016x}", value, text) for number, value, text in rows], columns=list(columns))
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    write_parquet(path, table, columns=columns)
    found = read_parquet(path, columns=columns)
    assert list(found.itertuples(index=False, name=None)) == list(table.itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["row"]), "no column 'row'; expected"),
        (lambda table: table.append_column("extra", table["row"]), "'extra' does not belong there; expected"),
        (lambda table: table.append_column("row", table["row"]), "expected the columns"),
        (lambda table: table.set_column(1, "row", table["row"].cast(pa.int64())), "'row' is int64; expected"),
        (lambda table: table.set_column(1, "row", pa.nulls(6, pa.int32())), "6 values of 'row' are missing"),
    ],
)
def test_other_tables_are_not_read(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, table_of(), columns=COLUMNS)
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    with pytest.raises(ValueError, match=rf"t\.parquet: .*{message}"):
        read_parquet(path, columns=COLUMNS)


def test_a_missing_column_or_value_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no column \['row'\]"):
        write_parquet(tmp_path / "t.parquet", table_of().drop(columns="row"), columns=COLUMNS)
    with pytest.raises(ValueError, match=r"missing values in \['image'\]"):
        write_parquet(tmp_path / "t.parquet", table_of().assign(image=[None] * 6), columns=COLUMNS)


def test_require_same_images() -> None:
    ids = table_of()["image"]
    require_same_images(ids, ids, where=Path("x"))
    with pytest.raises(ValueError, match=r"labels\.parquet: 5 rows; expected 6"):
        require_same_images(ids[:5], ids, where=Path("labels.parquet"))
    with pytest.raises(ValueError, match=r"row 0 is image .*5; expected .*0 \(6 rows differ\)"):
        require_same_images(ids[::-1], ids, where=Path("labels.parquet"))


def test_a_table_with_any_bit_turned_is_refused_or_read_right(tmp_path: Path) -> None:
    path, columns = tmp_path / "a.parquet", {"image": "string", "value": "int32"}
    table = pd.DataFrame({"image": [f"{number * 2**50:016x}" for number in range(30)], "value": range(30)})
    write_parquet(path, table, columns=columns)
    whole, original = path.read_bytes(), read_parquet(path, columns=columns)
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            assert read_parquet(path, columns=columns).equals(original)
        except ValueError as error:
            assert "a.parquet" in str(error)


def test_metrics_are_flat_finite_and_whole_where_they_can_be(tmp_path: Path) -> None:
    write_metrics(tmp_path / "new" / "a.json", {"share": 1 / 3, "count": 4.0})
    text = (tmp_path / "new" / "a.json").read_text()
    assert json.loads(text) == {"share": 0.333333, "count": 4} and "4.0" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics(tmp_path / "b.json", {"share": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"epoch": [1.0, 2.0], "loss": [0.1234567891, 2.0]}))
    assert (tmp_path / "a.csv").read_text() == "epoch,loss\n1,0.123457\n2,2\n"


def test_embeddings(tmp_path: Path) -> None:
    path, rows = tmp_path / "train.npy", np.eye(3, dtype=np.float32)
    write_array(path, rows)
    np.testing.assert_array_equal(open_embeddings(path, images=3), rows)
    with pytest.raises(ValueError, match="expected float32 embeddings of 4 images"):
        open_embeddings(path, images=4)
    write_array(path, rows.astype(np.float64))
    with pytest.raises(ValueError, match="expected float32 embeddings of 3 images, found float64"):
        open_embeddings(path, images=3)
    with pytest.raises(FileNotFoundError, match="no such file; remove it and run `dvc repro`"):
        open_embeddings(tmp_path / "query.npy", images=3)
    write_array(path, rows)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="truncated or damaged"):
        open_embeddings(path, images=3)


def test_training_across_cameras_starts_from_the_network_inside_them_or_the_initial_one_or_its_own(tmp_path):
    folders = {"intra": tmp_path / "intra", "features": tmp_path / "features"}
    assert start_folder("intra", **folders) == tmp_path / "intra"
    assert start_folder("initial", **folders) == tmp_path / "features"
    (tmp_path / "features/across").mkdir(parents=True)
    assert start_folder("initial", **folders) == tmp_path / "features/across"
    assert start_folder("intra", **folders) == tmp_path / "intra"
