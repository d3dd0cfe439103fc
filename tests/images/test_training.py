import numpy as np
import pandas as pd
import pytest

from reidlib.images.table import write_identities, write_index
from reidlib.images.training import read_training, with_source


def folder(path, *, train, size_px=(4, 2), brightness=0):
    path.mkdir()
    ids = [f"{number:016x}" for number in range(train + 1)]
    index = pd.DataFrame(
        {
            "image": ids,
            "split": ["train"] * train + ["query"],
            "row": [*range(train), 0],
            "camera": [number % 3 for number in range(train + 1)],
            "tracklet": -1,
            "frame": -1,
        }
    )
    for split, count in (("train", train), ("query", 1)):
        if count:
            np.save(path / f"{split}.npy", np.full((count, *size_px, 3), brightness, np.uint8))
    write_index(path / "index.parquet", index)
    return ids


def test_training_sees_ids_and_cameras_of_its_own_split(tmp_path):
    ids = folder(tmp_path / "images", train=5)
    images, cameras = read_training(tmp_path / "images", camera_labels=True)
    assert images.tolist() == ids[:5]
    np.testing.assert_array_equal(cameras, [0, 1, 2, 0, 1])
    _, cameras = read_training(tmp_path / "images", camera_labels=False)
    np.testing.assert_array_equal(cameras, [0] * 5)


def test_one_training_image_is_too_few(tmp_path):
    folder(tmp_path / "images", train=1)
    with pytest.raises(ValueError, match="at least 2 training images, found 1"):
        read_training(tmp_path / "images", camera_labels=True)


def other(path, people, *, size_px=(4, 2)):
    """Another dataset's images, on cameras 0 to 2, and its identities: one to a training image, None = not known."""
    ids = folder(path / "images", train=len(people), size_px=size_px, brightness=9)
    known = pd.DataFrame([(image, person, image) for image, person in zip(ids, people, strict=False) if person])
    known = known.reindex(columns=[0, 1, 2]).set_axis(["image", "identity", "name"], axis=1)
    write_identities(path / "identities.parquet", known.astype({"image": object, "identity": "int32", "name": object}))
    return path / "images", path / "identities.parquet"


def test_a_source_follows_with_its_identities_and_cameras_of_its_own(tmp_path):
    paths = other(tmp_path, [7, 7, 5, None])
    crops, cameras = np.zeros((3, 4, 2, 3), np.uint8), np.int16([0, 1, 0])
    images, numbered, people = with_source(crops, cameras, *paths, camera_labels=True)
    assert images.shape == (7, 4, 2, 3) and images[:3].max() == 0 and images[3:].min() == 9
    np.testing.assert_array_equal(numbered, [0, 1, 0, 2, 3, 4, 2])
    np.testing.assert_array_equal(people, [7, 7, 5, -1])
    _, numbered, _ = with_source(crops, np.zeros_like(cameras), *paths, camera_labels=False)
    np.testing.assert_array_equal(numbered, [0] * 7)


@pytest.mark.parametrize(
    ("people", "size_px", "words"),
    [
        ([1, 2], (8, 4), "expected images of 4 x 2 pixels.*found 8 x 4; unzip both with the same"),
        ([None, None], (4, 2), "identities.parquet: expected identities of training images, found none"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(tmp_path, people, size_px, words):
    paths = other(tmp_path, people, size_px=size_px)
    with pytest.raises(ValueError, match=words):
        with_source(np.zeros((3, 4, 2, 3), np.uint8), np.int16([0, 1, 0]), *paths, camera_labels=True)
