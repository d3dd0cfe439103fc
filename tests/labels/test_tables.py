import numpy as np
import pandas as pd
import pytest

from reidlib.labels.tables import read_labels, write_labels

IDS = pd.Series(["00aa", "11bb", "22cc", "33dd"], dtype="str")


def write(path, labels=(0, 0, 1, -1)):
    embeddings = np.float32([[1, 0], [0, 1], [1, 0], [0, 1]])
    write_labels(path, images=IDS, cameras=np.int16([0, 0, 1, 1]), labels=np.int32(labels), embeddings=embeddings)


def test_a_table_comes_back_with_the_distance_to_the_centres(tmp_path):
    write(tmp_path / "labels.parquet")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.parquet", images=IDS), [0, 0, 1, -1])
    table = pd.read_parquet(tmp_path / "labels.parquet")
    assert list(table.columns) == ["image", "camera", "label", "distance"]
    half = 1 - np.sqrt(0.5)  # two orthogonal members: each 45 degrees from their mean
    np.testing.assert_allclose(table["distance"], [half, half, 0, np.nan], atol=1e-6)


def test_what_is_not_these_images_labels_is_refused(tmp_path):
    path = tmp_path / "labels.parquet"
    with pytest.raises(ValueError, match="no such labels"):
        read_labels(path, images=IDS)
    write(path)
    for other in (IDS[::-1].reset_index(drop=True), IDS[:3], pd.Series(["00aa", "11bb", "22cc", "44ee"])):
        with pytest.raises(ValueError, match="belongs to another dataset"):
            read_labels(path, images=other)
    table = pd.read_parquet(path)
    for wrong in (table.drop(columns="label"), table.astype({"label": "float64"})):
        wrong.to_parquet(path)
        with pytest.raises(ValueError, match="expected the columns"):
            read_labels(path, images=IDS)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="cannot be read"):
        read_labels(path, images=IDS)
