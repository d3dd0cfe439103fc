"""Identities: what is written is what is read, of images that are there, for supervised recipes alone."""

from pathlib import Path

import pandas as pd
import pytest

from reidlib.images.identities import known_identities, read_identities, training_identities, write_identities

IMAGES = pd.Series([f"{number:016x}" for number in range(4)])


def table_of(*identities: int) -> pd.DataFrame:
    names = [f"é=cmd({number})" for number in range(len(identities))]
    return pd.DataFrame({"image": IMAGES[: len(identities)], "identity": identities, "name": names})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "identities.parquet"
    write_identities(path, table_of(0, 5))
    assert read_identities(path, among=IMAGES).to_dict("list") == table_of(0, 5).to_dict("list")
    assert known_identities(IMAGES[::-1], read_identities(path)).tolist() == [-1, -1, 5, 0]
    write_identities(path, table_of(0, 5).iloc[:0])
    assert len(read_identities(path, among=IMAGES)) == 0
    with pytest.raises(ValueError, match="identity -1; expected 0"):
        write_identities(path, table_of(-1, 0))


def test_identities_of_other_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "identities.parquet"
    write_identities(path, table_of(1, 2).assign(image=["f" * 16, "0" * 16], name=["a", "b"]))
    with pytest.raises(ValueError, match=r"1 of 2 images are not in the dataset .*'a'"):
        read_identities(path, among=IMAGES)


def test_only_supervised_recipes_take_identities_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "identities.parquet"
    write_identities(path, table_of(0, 5, 6))
    assert training_identities(path, IMAGES, recipe="supervised").tolist() == [0, 5, 6, -1]
    write_identities(path, table_of(0, 5, 5))
    with pytest.raises(ValueError, match=r"recipe 'icsr'.* in recipes whose name says supervised alone"):
        training_identities(path, IMAGES, recipe="icsr")
    with pytest.raises(ValueError, match=r"supervision .*rows\.parquet: identities are labels in recipes whose"):
        training_identities(tmp_path / "rows.parquet", IMAGES, recipe="supervised")
    for images, people, known in ((IMAGES[3:], 0, 0), (IMAGES[:1], 0, 0), (IMAGES[1:3], 1, 2)):
        message = rf"at least two people among the {len(images)} training images, found {people} in {known} of them"
        with pytest.raises(
            ValueError, match=rf"identities\.parquet: expected identities of {message}.*identities\.csv"
        ):
            training_identities(path, images, recipe="supervised")
