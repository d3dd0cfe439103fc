"""Pseudo-labels: what an epoch trains on, and the table they are kept in, one row per training image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int32

from reidlib.files import atomic_folder
from reidlib.tables import read_parquet, require_same_images, write_csv, write_parquet

COLUMNS: Mapping[str, str] = {"image": "string", "label": "int32"}


@dataclass(frozen=True)
class PseudoLabels:
    """Labels and what can be said of them without identities.

    Attributes:
        labels: clusters 0..C-1 without gaps, -1 = outlier.
        measures: finite numbers by name.
    """

    labels: Int32[np.ndarray, "n"]
    measures: dict[str, float]


def write_labels(path: Path, *, images: pd.Series, labels: Int32[np.ndarray, "n"]) -> None:
    """Write image (its id) and label, in the order of the images."""
    write_parquet(path, pd.DataFrame({"image": images.to_numpy(), "label": labels}), columns=COLUMNS)


def read_labels(path: Path, *, images: pd.Series) -> Int32[np.ndarray, "n"]:
    """Read the labels of these images, in their order.

    Raises:
        ValueError: where the file is damaged, has other columns or types, or is of other images.
        FileNotFoundError: where there is none.
    """
    table = read_parquet(path, columns=COLUMNS)
    require_same_images(table["image"], images, where=path)
    return table["label"].to_numpy()


def leave_labels(folder: Path, curves: Path, *, images: pd.Series, labels: Int32[np.ndarray, "n"]) -> None:
    """Write what training that trains nothing leaves: the labels as they are, and curves without an epoch."""
    with atomic_folder(folder) as made:
        write_labels(made / "labels.parquet", images=images, labels=labels)
    write_csv(curves, pd.DataFrame(columns=["epoch", "loss", "learning_rate"]))
