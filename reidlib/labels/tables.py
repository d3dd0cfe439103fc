"""The pseudo-label table: one row per training image, in the order of the index."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32, Integer

from reidlib.labels.quality import centre_distances
from reidlib.parquet import read_table, require_same_images, write_table

COLUMNS: Mapping[str, str] = {"image": "string", "camera": "int16", "label": "int32", "distance": "float"}


def write_labels(
    path: Path,
    *,
    images: pd.Series,
    cameras: Integer[np.ndarray, "n"],
    labels: Int32[np.ndarray, "n"],
    embeddings: Float[np.ndarray, "n d"],
) -> None:
    """Write image, camera, label and distance (1 - cosine to the cluster's normalised mean, NaN for outliers)."""
    distances = centre_distances(embeddings, labels)
    table = pd.DataFrame({"image": images.to_numpy(), "camera": cameras, "label": labels, "distance": distances})
    write_table(path, table, columns=COLUMNS)


def read_labels(path: Path, *, images: pd.Series) -> Int32[np.ndarray, "n"]:
    """Read the labels of these images, in their order.

    Raises:
        ValueError: where the file is damaged, has other columns or types, or is of other images.
        FileNotFoundError: where there is none.
    """
    table = read_table(path, columns=COLUMNS)
    require_same_images(table["image"], images, where=path)
    return table["label"].to_numpy()
