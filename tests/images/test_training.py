import numpy as np
import pandas as pd
import pytest

from reidlib.images.table import write_index
from reidlib.images.training import read_training


def folder(path, *, train):
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
            np.save(path / f"{split}.npy", np.zeros((count, 4, 2, 3), np.uint8))
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
