import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_labels(path, images=IDS)
    write(path)
    with pytest.raises(ValueError, match=r"4 rows; expected 3"):
        read_labels(path, images=IDS[:3])
    for other in (IDS[::-1].reset_index(drop=True), pd.Series(["00aa", "11bb", "22cc", "44ee"])):
        with pytest.raises(ValueError, match=r"labels\.parquet: row \d is image .*made from other images"):
            read_labels(path, images=other)
    table = pd.read_parquet(path)
    table.drop(columns="label").to_parquet(path)
    with pytest.raises(ValueError, match="no column 'label'"):
        read_labels(path, images=IDS)
    table.astype({"label": "float64"}).to_parquet(path)
    with pytest.raises(ValueError, match="'label' is double"):
        read_labels(path, images=IDS)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="damaged"):
        read_labels(path, images=IDS)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 2**15 - 1), st.integers(0, 7)), min_size=2, max_size=12),
    st.integers(0, 2**32),
)
def test_any_labels_come_back_and_only_to_their_images(tmp_path_factory, rows, seed):
    labels, cameras, directions = (np.array(column) for column in zip(*rows, strict=True))
    ids = pd.Series(
        [f"{number:016x}" for number in np.random.default_rng(seed).choice(10**6, len(rows), replace=False)]
    )
    embeddings = np.float32(np.eye(8)[directions])
    path = tmp_path_factory.mktemp("labels") / "labels.parquet"
    write_labels(path, images=ids, cameras=np.int16(cameras), labels=labels.astype(np.int32), embeddings=embeddings)
    found = read_labels(path, images=ids)
    assert found.dtype == np.int32 and found.tolist() == labels.tolist()
    table = pd.read_parquet(path)
    assert table["camera"].tolist() == cameras.tolist()
    for row, label in enumerate(labels):
        centre = embeddings[labels == label].mean(axis=0)
        expected = np.nan if label < 0 else 1 - embeddings[row] @ centre / np.linalg.norm(centre)
        np.testing.assert_allclose(table["distance"][row], expected, atol=1e-5)
    for others in (ids[::-1].reset_index(drop=True), ids[:-1], pd.concat([ids, ids[:1]], ignore_index=True)):
        with pytest.raises(ValueError, match=r"labels\.parquet: .*run its stage again"):
            read_labels(path, images=others)
