"""What training may know of its images: ids and cameras, and, in the recipe that says supervised, identities."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int16, Int32

from reidlib.images.table import known_identities, read_identities, read_index, split_rows


def read_training(images: Path, *, camera_labels: bool) -> tuple[pd.Series, Int16[np.ndarray, "n"]]:
    """Return the ids and the cameras of the training images, in the order of their array.

    Args:
        images: the images folder.
        camera_labels: without them every image is on camera 0.

    Raises:
        ValueError: where there are fewer than two training images, or the folder is damaged.
    """
    rows = split_rows(read_index(images), "train")
    if len(rows) < 2:
        raise ValueError(f"{images}: expected at least 2 training images, found {len(rows)}; check the archive")
    cameras = rows["camera"].to_numpy(np.int16)
    return rows["image"], cameras if camera_labels else np.zeros_like(cameras)


def training_identities(identities: Path, images: Path) -> Int32[np.ndarray, "n"]:
    """Return the identities of the training images, in the order of their array; 0 or -1 where not known.

    For the recipe `supervised` alone: no other has this file among its dependencies.

    Args:
        identities: what `unzip` wrote apart.
        images: the images folder.
    """
    index = read_index(images)
    return known_identities(split_rows(index, "train")["image"], read_identities(identities, index))
