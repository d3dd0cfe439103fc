import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.pseudo_labels import leave_labels, read_labels, write_labels

IDS = pd.Series(["00aa", "11bb", "22cc", "33dd"], dtype="str")


def write(path, labels=(0, 0, 1, -1)):
    write_labels(path, images=IDS, labels=np.int32(labels))


def test_a_table_comes_back(tmp_path):
    write(tmp_path / "labels.parquet")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.parquet", images=IDS), [0, 0, 1, -1])
    table = pd.read_parquet(tmp_path / "labels.parquet")
    assert list(table.columns) == ["image", "label"] and table["image"].tolist() == IDS.tolist()


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
@given(st.lists(st.integers(-1, 4), min_size=2, max_size=12), st.integers(0, 2**32))
def test_any_labels_come_back_and_only_to_their_images(tmp_path_factory, labels, seed):
    numbers = np.random.default_rng(seed).choice(10**6, len(labels), replace=False)
    ids = pd.Series([f"{number:016x}" for number in numbers])
    path = tmp_path_factory.mktemp("labels") / "labels.parquet"
    write_labels(path, images=ids, labels=np.int32(labels))
    found = read_labels(path, images=ids)
    assert found.dtype == np.int32 and found.tolist() == labels
    for others in (ids[::-1].reset_index(drop=True), ids[:-1], pd.concat([ids, ids[:1]], ignore_index=True)):
        with pytest.raises(ValueError, match=r"labels\.parquet: .*run its stage again"):
            read_labels(path, images=others)


def test_training_that_trains_nothing_leaves_the_labels_as_they_are(tmp_path):
    leave_labels(tmp_path / "intra", tmp_path / "train_intra.csv", images=IDS, labels=np.int32([0, 0, 1, -1]))
    assert read_labels(tmp_path / "intra" / "labels.parquet", images=IDS).tolist() == [0, 0, 1, -1]
    assert (tmp_path / "train_intra.csv").read_text() == "epoch,loss,learning_rate\n"
