"""Another dataset beside the one to train on: its cameras are others, its identities known, its images not the same."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidlib.images.identities import write_identities
from reidlib.images.source import with_source
from reidlib.images.split import PIXELS_FILE, open_split, write_rows


def folder(
    path: Path, cameras: list[int], *, size_px: tuple[int, int] = (4, 2), brightness: int = 0, first: int = 0
) -> Path:
    """A split of images on these cameras, their ids counted from `first` on."""
    path.mkdir(parents=True)
    ids = [f"{first + number:016x}" for number in range(len(cameras))]
    write_rows(path, pd.DataFrame({"image": ids, "camera": cameras, "tracklet": -1, "frame": -1}))
    np.save(path / PIXELS_FILE, np.full((len(cameras), *size_px, 3), brightness, np.uint8))
    return path


def other(path: Path, people: list[int | None], *, first: int = 100, **options) -> tuple[Path, Path]:
    """Another dataset's images, on cameras 0 to 2, and its identities: one to a training image, None = not known."""
    images = folder(path / "images/train", [row % 3 for row in range(len(people))], first=first, **options)
    table = open_split(images).rows[["image"]].assign(identity=people, name="name")
    write_identities(path / "identities.parquet", table.dropna().astype({"identity": "int32"}))
    return images, path / "identities.parquet"


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return folder(tmp_path / "mine/images/train", [0, 1, 0])


@pytest.mark.parametrize("first", [0, 100])  # equal names of other images are no equal images
def test_a_source_follows_with_its_identities_and_cameras_of_its_own(tmp_path, training, first):
    paths = other(tmp_path / "other", [7, 7, 5, None], brightness=9, first=first)
    images, cameras, identities = with_source(open_split(training), *paths, name="other")
    assert images.shape == (7, 4, 2, 3) and images[:3].max() == 0 and images[3:].min() == 9
    np.testing.assert_array_equal(cameras, [0, 1, 0, 2, 3, 4, 2])
    np.testing.assert_array_equal(identities, [7, 7, 5, -1])
    assert (images.dtype, cameras.dtype, identities.dtype) == (np.uint8, np.int16, np.int32)
    _, cameras, _ = with_source(open_split(training, camera_labels=False), *paths, name="other")
    np.testing.assert_array_equal(cameras, [0] * 7)


@pytest.mark.parametrize(
    ("people", "size_px", "words"),
    [
        ([1, 2], (8, 4), "images/train: expected images of 4 x 2 pixels.*found 8 x 4; unzip both with the same"),
        ([None, None], (4, 2), "identities.parquet: expected identities of training images, found none"),
        ([1], (4, 2), "at least 2 training images, found 1"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(tmp_path, training, people, size_px, words):
    paths = other(tmp_path / "other", people, size_px=size_px, brightness=9)
    with pytest.raises(ValueError, match=words):
        with_source(open_split(training), *paths, name="other")


def test_the_dataset_itself_is_no_source_even_in_part(tmp_path, training):
    words = r"source\.name: expected another dataset than the one to train on.*found {} of its images in .*source=none"
    _, identities = other(tmp_path / "other", [1, 2])
    with pytest.raises(ValueError, match=words.format(3)):
        with_source(open_split(training), training, identities, name="other")
    images, identities = other(tmp_path / "part", [1, 2, 3], first=2)  # its first image is the last of the others
    with pytest.raises(ValueError, match=words.format(1)):
        with_source(open_split(training), images, identities, name="other")
