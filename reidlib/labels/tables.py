"""The pseudo-label table: one row per training image, in the order of the index."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32, Integer

from reidlib.artifacts import atomic_file
from reidlib.labels.quality import centre_distances

COLUMNS = {"image": "string", "camera": "int16", "label": "int32", "distance": "float32"}


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
    with atomic_file(path) as temporary:
        table.astype(COLUMNS).to_parquet(temporary, index=False)


def read_labels(path: Path, *, images: pd.Series) -> Int32[np.ndarray, "n"]:
    """Read the labels of these images, in their order.

    Raises:
        ValueError: where the file is missing or damaged, has other columns, or is of other images.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such labels; run `dvc repro` to make them")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise ValueError(f"{path}: cannot be read as parquet ({error}); remove it and run `dvc repro`") from error
    found = {name: str(kind) for name, kind in table.dtypes.items()}
    if set(found) != set(COLUMNS) or table["label"].dtype != np.int32:
        raise ValueError(f"{path}: expected the columns {COLUMNS}, found {found}; remove it and rerun")
    if not np.array_equal(table["image"].to_numpy(str), images.to_numpy(str)):
        raise ValueError(
            f"{path}: its {len(table)} images are not the {len(images)} training images of the index, or in another "
            "order; it belongs to another dataset: remove it and rerun"
        )
    return table["label"].to_numpy()
