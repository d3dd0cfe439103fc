"""Tables, arrays and metrics on the disk: what is written is checked, and so is what is read, so that nobody else must.

Parquet tables have typed columns; arrays are .npy files that are opened as memory maps; metrics are flat JSON objects.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Shaped

from reidlib.files import atomic_file


def write_parquet(path: Path, table: pd.DataFrame, *, columns: Mapping[str, str]) -> None:
    """Write `columns` (name -> Arrow type) of `table` as parquet, whole or not at all; the same table, the same bytes.

    Raises:
        ValueError: A column is missing, or a value is missing or does not fit its column's type.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{path}: no column {missing} to write; found {list(table.columns)}")
    try:
        arrays = [pa.array(table[name].to_numpy(), type=kind, from_pandas=False) for name, kind in columns.items()]
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(f"{path}: a value does not fit its column ({error}); expected {dict(columns)}") from error
    absent = [name for name, array in zip(columns, arrays, strict=True) if array.null_count]
    if absent:
        raise ValueError(f"{path}: missing values in {absent}")
    with atomic_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), temporary, write_page_checksum=True)


def read_parquet(
    path: Path, *, columns: Mapping[str, str], optional: Mapping[str, str] = MappingProxyType({})
) -> pd.DataFrame:
    """Return the parquet table at `path`, which holds exactly `columns` (name -> Arrow type) and no missing values.

    The `optional` columns are all there, after the others, or none is.

    Raises:
        ValueError: No parquet, damaged, other columns or types than expected, or missing values.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run `dvc repro` to make it")
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a parquet table, or a damaged one ({error}); run its stage again") from error
    found = {field.name: str(field.type) for field in table.schema}
    if set(optional) & set(found):
        columns = {**columns, **optional}
    problems = [f"no column {name!r}" for name in columns if name not in found]
    problems += [f"{name!r} is {kind}" for name, kind in found.items() if kind != columns.get(name, kind)]
    problems += [f"{name!r} does not belong there" for name in found if name not in columns]
    if problems or len(table.schema) != len(columns):
        raise ValueError(f"{path}: {', '.join(problems)}; expected the columns {dict(columns)}; run its stage again")
    for name in columns:
        if table[name].null_count:
            raise ValueError(f"{path}: {table[name].null_count} values of {name!r} are missing; run its stage again")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def require_same_images(found: pd.Series, expected: pd.Series, *, where: Path) -> None:
    """Raise a ValueError naming `where` unless both columns of image ids are equal, row by row."""
    if len(found) != len(expected):
        raise ValueError(
            f"{where}: {len(found):,} rows; expected {len(expected):,}, one per image; run its stage again"
        )
    unequal = np.flatnonzero(found.to_numpy() != expected.to_numpy())
    if len(unequal):
        raise ValueError(
            f"{where}: row {unequal[0]} is image {found.iloc[unequal[0]]}; expected {expected.iloc[unequal[0]]} "
            f"({len(unequal):,} rows differ): it was made from other images; run its stage again"
        )


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV that `dvc plots` and people read, whole or not at all."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def write_metrics(path: Path, metrics: Mapping[str, float]) -> None:
    """Write one flat JSON object of finite numbers, in the order given; NaN is refused (DVC cannot compare it)."""
    rounded = {name: round(float(value), 6) for name, value in metrics.items()}
    whole = {name: int(value) for name, value in rounded.items() if value.is_integer()}
    text = json.dumps(rounded | whole, indent=2, allow_nan=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_array(path: Path, array: Shaped[np.ndarray, "..."]) -> None:
    """Write an .npy file that `open_array` maps into memory, whole or not at all."""
    with atomic_file(path) as temporary:
        np.save(temporary, array)


def open_array(path: Path, *, mend: str = "remove it and run `dvc repro`") -> np.memmap:
    """Return the .npy file at `path` as a read-only memory map; `mend` is what to do where it cannot be.

    Who truncates the file in place while it is mapped kills its readers (SIGBUS); one that replaces it does not.

    Raises:
        ValueError: The file is damaged, longer or shorter than it says, or holds Python objects.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {mend}")
    try:
        array: np.memmap = np.lib.format.open_memmap(path, mode="r")  # np.load would take a zip too
        size, expected = path.stat().st_size, array.offset + array.nbytes
        if size != expected:
            raise ValueError(f"{size:,} bytes, expected {expected:,}")
    except Exception as error:  # numpy raises nearly every type there is on a damaged header
        raise ValueError(f"{path}: truncated or damaged ({error}); {mend}") from error
    return array


def open_embeddings(path: Path, *, images: int) -> Float32[np.ndarray, "n d"]:
    """Map the embeddings of so many images into memory, read-only.

    Raises:
        ValueError: where the file is cut short, of another type, or of another number of images.
        FileNotFoundError: where there is none.
    """
    embeddings = open_array(path)
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or len(embeddings) != images:
        raise ValueError(
            f"{path}: expected float32 embeddings of {images} images, found {embeddings.dtype} {embeddings.shape}; "
            "remove it and run `dvc repro`"
        )
    return embeddings


def start_folder(start_from: str, *, intra: Path, features: Path) -> Path:
    """Return where the network (model*.safetensors) and embeddings (train.npy) lie that `train_inter` starts from.

    Args:
        start_from: "intra" or "initial", `train_inter.start_from`.
        intra: what `train_intra` left.
        features: what `extract` left; the network of its own for this stage, where it has one, lies in "across".
    """
    if start_from == "intra":
        return intra
    return features / "across" if (features / "across").is_dir() else features
