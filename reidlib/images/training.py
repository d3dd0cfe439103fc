"""What training may know of its images: ids and cameras, and, in the recipe that says supervised, identities."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int16, Int32, UInt8

from reidlib.images.packing import open_split
from reidlib.images.table import known_identities, read_identities, read_index, split_rows


def read_training(
    images: Path, *, camera_labels: bool, index: pd.DataFrame | None = None
) -> tuple[pd.Series, Int16[np.ndarray, "n"]]:
    """Return the ids and the cameras of the training images, in the order of their array.

    Args:
        images: the images folder.
        camera_labels: without them every image is on camera 0.
        index: of the folder, where it was read already.

    Raises:
        ValueError: where there are fewer than two training images, or the folder is damaged.
    """
    rows = split_rows(read_index(images) if index is None else index, "train")
    if len(rows) < 2:
        raise ValueError(f"{images}: expected at least 2 training images, found {len(rows)}; check the archive")
    cameras = rows["camera"].to_numpy(np.int16)
    return rows["image"], cameras if camera_labels else np.zeros_like(cameras)


def training_identities(identities: Path, images: Path) -> Int32[np.ndarray, "n"]:
    """Return the identities of the training images, in the order of their array; 0 or -1 where not known.

    For recipes that say supervised alone: no other has what `unzip` wrote apart, `identities`, among its dependencies.
    """
    index = read_index(images)
    return known_identities(split_rows(index, "train")["image"], read_identities(identities, index))


def with_source(
    crops: UInt8[np.ndarray, "n h w 3"],
    cameras: Int16[np.ndarray, "n"],
    images: Path,
    identities: Path,
    *,
    camera_labels: bool,
) -> tuple[UInt8[np.ndarray, "m h w 3"], Int16[np.ndarray, "m"], Int32[np.ndarray, "k"]]:
    """Return the training images and cameras followed by those of another dataset, and the identities of the latter.

    All are held in memory. The other dataset's cameras are numbered after these; without camera labels all images are
    on camera 0.

    Args:
        crops: packed training images.
        cameras: of them.
        images: the other dataset's images folder.
        identities: what `unzip` wrote apart for it.
        camera_labels: whether cameras are told apart.

    Raises:
        ValueError: where the other images are packed in another size, or none of them has a known identity.
    """
    other = open_split(images, "train")
    if other.shape[1:] != crops.shape[1:]:
        raise ValueError(
            f"{images}: expected images of {crops.shape[1]} x {crops.shape[2]} pixels, as the dataset to train on has "
            f"them, found {other.shape[1]} x {other.shape[2]}; unzip both with the same unzip.height_px and width_px"
        )
    _, theirs = read_training(images, camera_labels=camera_labels)
    numbered = (theirs - theirs.min() + cameras.max() + 1).astype(np.int16) if camera_labels else theirs
    people = training_identities(identities, images)
    if not (people > 0).any():
        raise ValueError(f"{identities}: expected identities of training images, found none; set source=none")
    return np.concatenate([crops, other]), np.concatenate([cameras, numbered]), people
