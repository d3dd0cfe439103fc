"""What images are called in the archive: written apart by `unzip`, read by `evaluate` and `report`.

Names spell identities in most datasets, and so may the names of folders; no stage that trains sees any.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from reidlib.images.split import check_ids
from reidlib.tables import read_parquet, write_parquet

NAMES: Mapping[str, str] = {"image": "string", "path": "string", "camera": "string", "tracklet": "string"}


def write_names(path: Path, table: pd.DataFrame) -> None:
    """Write the names (columns `NAMES`; a tracklet may be empty) of every image of a dataset."""
    check_ids(table["image"], path)
    write_parquet(path, table, columns=NAMES)


def read_names(path: Path, *, among: pd.Series) -> pd.DataFrame:
    """Return the names of the images `among`, in that order.

    Raises:
        ValueError: the table is damaged, or one of these images is not in it.
        FileNotFoundError: there is no such file.
    """
    table = read_parquet(path, columns=NAMES)
    check_ids(table["image"], path)
    found = table.set_index("image").reindex(among.to_numpy())
    absent = found.index[found["path"].isna()]
    if len(absent):
        raise ValueError(
            f"{path}: expected names of all {len(among):,} images, {len(absent):,} have none (first: {absent[0]}); "
            "run the stage unzip again"
        )
    return found.reset_index(names="image")[list(NAMES)]


def camera_names(rows: pd.DataFrame, names: pd.DataFrame) -> dict[int, str]:
    """Return the name of each camera by its number, from a table with image and camera, and the images' names."""
    pairs = rows[["image", "camera"]].merge(names[["image", "camera"]], on="image", suffixes=("", "_name"))
    return {int(number): str(name) for number, name in zip(pairs["camera"], pairs["camera_name"], strict=True)}
