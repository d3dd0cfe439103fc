"""One split of a dataset as `unzip` leaves it: packed images, and a table with a row for each, without identities.

A split is a folder of its own, so that a change of queries or gallery reaches nothing that trains.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int16, Int32, UInt8

from reidlib.tables import open_array, read_parquet, write_parquet

SplitName = Literal["train", "query", "gallery"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
PIXELS_FILE, ROWS_FILE = "pixels.npy", "rows.parquet"
ROWS: Mapping[str, str] = {"image": "string", "camera": "int16", "tracklet": "int32", "frame": "int32"}
TIMES: Mapping[str, str] = {"sequence": "int32", "time_seconds": "double"}  # there where any is known
_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Split:
    """The images of a split and what is known of each without identities.

    Attributes:
        images: packed RGB crops, a read-only memory map.
        rows: in their order image (16 hex digits, ascending), camera (0-based), tracklet (-1: none) and frame (-1:
            unknown); where they are known of any image, sequence and time_seconds too.
        camera_labels: whether cameras are told apart; without, every image is on camera 0, and no time is known, since
            each camera has a clock of its own.
    """

    images: UInt8[np.ndarray, "n h w 3"]
    rows: pd.DataFrame
    camera_labels: bool = True

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows)

    @property
    def ids(self) -> pd.Series:
        """The id of each image."""
        return self.rows["image"]

    @property
    def cameras(self) -> Int16[np.ndarray, "n"]:
        """The camera of each image."""
        return self.rows["camera"].to_numpy(np.int16)

    @property
    def tracklets(self) -> Int32[np.ndarray, "n"]:
        """The tracklet of each image, a number of its own in the whole dataset; -1: none.

        A tracklet is the work of a tracker, which followed somebody on one camera and asked no one who that is. No
        reader makes tracklets of a dataset's identities: only `folder` knows any.
        """
        return self.rows["tracklet"].to_numpy(np.int32)

    @property
    def sequences(self) -> Int32[np.ndarray, "n"]:
        """The sequence of its camera's that each image is of, -1 where a camera has but one."""
        if "sequence" not in self.rows:
            return np.full(len(self), -1, np.int32)
        return self.rows["sequence"].to_numpy(np.int32)

    @property
    def times(self) -> Float64[np.ndarray, "n"]:
        """When each image was taken, in seconds; NaN where unknown.

        Times are those of a clock that is the camera's own, or the sequence's where it has several: two are to be
        compared where camera and sequence are equal. Images of one frame have the same time to the bit.
        """
        if "time_seconds" not in self.rows:
            return np.full(len(self), np.nan)
        return self.rows["time_seconds"].to_numpy(np.float64)


def open_split(folder: Path, *, camera_labels: bool = True) -> Split:
    """Open a split's folder, its pixels as a memory map; without camera labels every image is on camera 0.

    Raises:
        ValueError: A file is damaged, or they do not belong together.
        FileNotFoundError: One is missing.
    """
    rows, images = read_rows(folder), open_pixels(folder / PIXELS_FILE)
    if len(images) != len(rows):
        raise ValueError(
            f"{folder / PIXELS_FILE}: {len(images):,} rows, but {len(rows):,} in {ROWS_FILE}; run the stage unzip again"
        )
    if not camera_labels:
        rows = rows.drop(columns=list(TIMES), errors="ignore").assign(camera=np.int16(0))
    return Split(images, rows, camera_labels)


def open_training(folder: Path, *, camera_labels: bool) -> Split:
    """Open the split to train on.

    Raises:
        ValueError: It has fewer than two images; and as `open_split`.
    """
    split = open_split(folder, camera_labels=camera_labels)
    if len(split) < 2:
        raise ValueError(f"{folder}: expected at least 2 training images, found {len(split)}; check the archive")
    return split


def write_rows(folder: Path, table: pd.DataFrame) -> None:
    """Write a split's table after checking it as `read_rows` does: columns `ROWS`, and `TIMES` where any is known.

    Raises:
        ValueError: a value is out of its range or does not fit its column.
    """
    path = folder / ROWS_FILE
    _check_rows(table, path)
    timed = {*TIMES} <= {*table} and bool((table["time_seconds"].notna() | (table["sequence"] >= 0)).any())
    write_parquet(path, table, columns={**ROWS, **TIMES} if timed else ROWS)


def read_rows(folder: Path) -> pd.DataFrame:
    """Read and check the table that a split's folder, or that of its embeddings, holds."""
    path = folder / ROWS_FILE
    table = read_parquet(path, columns=ROWS, optional=TIMES)
    _check_rows(table, path)
    return table


def open_pixels(path: Path) -> UInt8[np.ndarray, "n height_px width_px 3"]:
    """Return packed images as a read-only memory map.

    Raises:
        ValueError: The array is damaged, truncated or of another kind.
        FileNotFoundError: There is no such file.
    """
    array = open_array(path, mend="run the stage unzip again (`dvc repro unzip`)")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise ValueError(f"{path}: {array.dtype} {array.shape}; expected uint8 (images, height, width, 3)")
    return array


def image_id(raw_name: bytes) -> str:
    """Return the opaque id of an image: 16 hex digits of the blake2b of its name's bytes inside the archive.

    >>> image_id(b"bounding_box_train/0002_c1s1_000451_03.jpg")
    '3c1509cdbb311e4f'
    """
    return blake2b(raw_name, digest_size=8).hexdigest()


def check_ids(images: pd.Series, path: Path) -> None:
    """Raise a ValueError naming `path` unless the ids of images are 16 hex digits each, and each there once."""
    wrong = [str(image)[:40] for image in images if not (isinstance(image, str) and _ID.fullmatch(image))]
    if wrong:
        raise ValueError(f"{path}: image {wrong[0]!r}; expected 16 hex digits ({len(wrong):,} are not)")
    if not images.is_unique:
        raise ValueError(f"{path}: image {images[images.duplicated()].iloc[0]} is there twice")


def _check_rows(table: pd.DataFrame, path: Path) -> None:
    check_ids(table["image"], path)
    if not table["image"].is_monotonic_increasing:
        raise ValueError(f"{path}: rows are not ordered by image")
    for name, least in (("camera", 0), ("tracklet", -1), ("frame", -1), ("sequence", -1)):
        if name in table and len(table) and table[name].min() < least:
            raise ValueError(f"{path}: {name} {table[name].min()}; expected {least} or more")
