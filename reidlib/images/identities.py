"""Who is in which image: apart from the rest; for `evaluate`, `report` and recipes whose name says supervised."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int32

from reidlib.images.split import check_ids
from reidlib.tables import read_parquet, write_parquet

IDENTITIES: Mapping[str, str] = {"image": "string", "identity": "int32", "name": "string"}


def write_identities(path: Path, table: pd.DataFrame) -> None:
    """Write identities (columns `IDENTITIES`; zero rows where none is known) after checking them."""
    _check(table, path)
    write_parquet(path, table, columns=IDENTITIES)


def read_identities(path: Path, *, among: pd.Series | None = None) -> pd.DataFrame:
    """Return the identities table; it may name only some of the dataset's images, or none.

    Columns: image, identity (>= 0; 0 = distractor, never a match), name (as in the archive).

    Args:
        path: the parquet.
        among: ids of all images of the dataset, where they are known.

    Raises:
        ValueError: The table is not that, or holds images that are not `among` these.
        FileNotFoundError: There is no such file.
    """
    table = read_parquet(path, columns=IDENTITIES)
    _check(table, path)
    strange = table.loc[~table["image"].isin(among), "name"] if among is not None else table["name"].iloc[:0]
    if len(strange):
        raise ValueError(
            f"{path}: {len(strange):,} of {len(table):,} images are not in the dataset (first: {strange.iloc[0]!r}): "
            "it belongs to other images; run the stage unzip again"
        )
    return table


def known_identities(images: pd.Series, identities: pd.DataFrame) -> Int32[np.ndarray, "n"]:
    """Return the identity of each image, -1 where the table that `read_identities` read does not know it."""
    numbers = identities.set_index("image")["identity"].reindex(images.to_numpy())
    return numbers.fillna(-1).to_numpy(np.int32)


def training_identities(path: Path, images: pd.Series, *, recipe: str) -> Int32[np.ndarray, "n"]:
    """Return the identities of the training images, 0 or -1 where not known: the labels of supervised training.

    Raises:
        ValueError: The recipe's name does not say that it is supervised, or fewer than two people are known
            among these images.
    """
    if "supervised" not in recipe or path.name != "identities.parquet":
        raise ValueError(
            f"recipe {recipe!r}, supervision {path}: identities are labels in recipes whose name says supervised alone:"
            " recipe=supervised, or another method than identities and supervision=images/train/rows.parquet"
        )
    known = known_identities(images, read_identities(path))
    people = len(np.unique(known[known > 0]))
    if people < 2:
        raise ValueError(
            f"{path}: expected identities of at least two people among the {len(known):,} training images, found "
            f"{people} in {int((known > 0).sum()):,} of them; name the images of train in the archive's list of "
            f"identities (identities.csv with dataset=folder), or choose another recipe than {recipe}"
        )
    return known


def _check(table: pd.DataFrame, path: Path) -> None:
    check_ids(table["image"], path)
    if len(table) and table["identity"].min() < 0:
        raise ValueError(f"{path}: identity {table['identity'].min()}; expected 0 (distractor) or more")
