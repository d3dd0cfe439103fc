"""The tables beside the packed images: which image is which row, and (in a file of its own) who is in it.

``index.parquet`` lies in the images folder and knows no identity. ``identities.parquet`` is for evaluation alone.
Reading checks everything that a wrong or damaged file could have wrong (types in `reidlib.parquet`).
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int32

from reidlib.images.packing import open_array
from reidlib.parquet import read_table, write_table

SPLITS = ("train", "query", "gallery")
_ID = re.compile("[0-9a-f]{16}")
INDEX_FILE = "index.parquet"
INDEX: Mapping[str, str] = {
    "image": "string",
    "split": "string",
    "row": "int32",
    "camera": "int16",
    "tracklet": "int32",
    "frame": "int32",
}
IDENTITIES: Mapping[str, str] = {"image": "string", "identity": "int32", "name": "string"}


def write_index(path: Path, table: pd.DataFrame) -> None:
    """Write the index of an images folder (columns `INDEX`) after checking it as `read_index` does."""
    _check_index(table, path)
    write_table(path, table, columns=INDEX)


def read_index(images: Path) -> pd.DataFrame:
    """Return the index of the images folder `images`, checked against its arrays.

    Columns: image (16 hex digits), split ("train", "query", "gallery"), row in that split's array, camera (0-based),
    tracklet (-1: none), frame (-1: unknown). Ordered by split, then image; row = rank of the image in its split.

    Raises:
        ValueError: The table is not that, or an array's rows are not as many as the index says.
        FileNotFoundError: The folder has no index, or no array for one of its splits.
    """
    path = images / INDEX_FILE
    index = read_table(path, columns=INDEX)
    _check_index(index, path)
    for split, rows in index.groupby("split", sort=False).size().items():
        array = images / f"{split}.npy"
        found = len(open_array(array))
        if found != rows:
            raise ValueError(f"{array}: {found:,} rows, but {rows:,} in {path}; run the stage unzip again")
    return index


def split_rows(index: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the index's rows of one split, in the order of its array, with a fresh 0-based row index."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r}; expected one of {SPLITS}")
    return index[index["split"] == split].reset_index(drop=True)


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows ordered by split, then image."""
    order = table["split"].map({split: number for number, split in enumerate(SPLITS)})
    return table.assign(order=order).sort_values(["order", "image"]).drop(columns="order")


def write_identities(path: Path, table: pd.DataFrame) -> None:
    """Write identities (columns `IDENTITIES`; zero rows where none is known) after checking them."""
    _check_identities(table, path)
    write_table(path, table, columns=IDENTITIES)


def read_identities(path: Path, index: pd.DataFrame) -> pd.DataFrame:
    """Return the identities table, each of whose images must be in `index`; it may name only some of them, or none.

    Columns: image, identity (>= 0; 0 = distractor, never a match), name (as in the archive).

    Raises:
        ValueError: The table is not that, or holds images that `index` does not.
        FileNotFoundError: There is no such file.
    """
    table = read_table(path, columns=IDENTITIES)
    _check_identities(table, path)
    strange = table.loc[~table["image"].isin(index["image"]), "name"]
    if len(strange):
        raise ValueError(
            f"{path}: {len(strange):,} of {len(table):,} images are not in the index (first: {strange.iloc[0]!r}): "
            "it belongs to other images; run the stage unzip again"
        )
    return table


def known_identities(images: pd.Series, identities: pd.DataFrame) -> Int32[np.ndarray, "n"]:
    """Return the identity of each image, -1 where the table that `read_identities` read does not know it."""
    numbers = identities.set_index("image")["identity"].reindex(images.to_numpy())
    return numbers.fillna(-1).to_numpy(np.int32)


def _check_index(table: pd.DataFrame, path: Path) -> None:
    _check_ids(table["image"], path)
    strange = sorted(set(table["split"]) - set(SPLITS))
    if strange:
        raise ValueError(f"{path}: split {[name[:40] for name in strange[:3]]}; expected some of {SPLITS}")
    if not np.array_equal(in_order(table).index, table.index):
        raise ValueError(f"{path}: rows are not ordered by split ({', '.join(SPLITS)}), then image")
    if not np.array_equal(table.groupby("split").cumcount().to_numpy(), table["row"].to_numpy()):
        raise ValueError(f"{path}: 'row' is not the rank of the image in its split")
    for name, least in (("camera", 0), ("tracklet", -1), ("frame", -1)):
        if len(table) and table[name].min() < least:
            raise ValueError(f"{path}: {name} {table[name].min()}; expected {least} or more")


def _check_identities(table: pd.DataFrame, path: Path) -> None:
    _check_ids(table["image"], path)
    if len(table) and table["identity"].min() < 0:
        raise ValueError(f"{path}: identity {table['identity'].min()}; expected 0 (distractor) or more")


def _check_ids(images: pd.Series, path: Path) -> None:
    wrong = [str(image)[:40] for image in images if not (isinstance(image, str) and _ID.fullmatch(image))]
    if wrong:
        raise ValueError(f"{path}: image {wrong[0]!r}; expected 16 hex digits ({len(wrong):,} are not)")
    if not images.is_unique:
        raise ValueError(f"{path}: image {images[images.duplicated()].iloc[0]} is there twice")
