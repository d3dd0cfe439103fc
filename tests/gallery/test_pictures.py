"""Which files are pictures, and what becomes of what people pass for one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidlib.gallery.pictures import files_of, list_pictures, picture_files, picture_name, read_picture, read_pictures


@pytest.fixture
def folder(tmp_path):
    """Pictures with and without a picture's name, a broken one, and what is none."""
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    for name in ("b.png", "a/c.PNG", "a/d", ".hidden/e.png", "a/.f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name, "PNG")
    (tmp_path / "broken.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_are_told_by_content_and_broken_ones_by_name(folder):
    found = picture_files(folder)
    assert found == [folder / name for name in ("a/c.PNG", "a/d", "b.png", "broken.jpg")]
    assert picture_files(folder / "notes.txt") == [folder / "notes.txt"]  # named by itself: reading it tells


def test_a_picture_named_twice_is_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert files_of([Path("a"), folder / "a/d", Path("b.png")]) == [Path("a/c.PNG"), Path("a/d"), Path("b.png")]


def test_one_or_several_or_a_folder_are_a_list(folder):
    image, array = Image.new("L", (2, 3)), np.zeros((3, 2), np.uint8)
    assert list_pictures(str(folder)) == picture_files(folder) and list_pictures("one.png") == ["one.png"]
    assert list_pictures(image) == [image] and list_pictures([image, "x"]) == [image, "x"]
    assert list_pictures(array)[0] is array and len(list_pictures(np.zeros((5, 3, 2, 3), np.uint8))) == 5
    assert picture_name("x.png", 3) == "x.png" and picture_name(image, 3) == "picture 3"


def test_pixels_come_in_order_with_errors_in_their_places(folder):
    files = picture_files(folder) * 20
    found = list(read_pictures(files, size_px=(4, 2)))
    expected = np.asarray(Image.open(folder / "b.png").resize((2, 4), Image.Resampling.BILINEAR))
    for file, pixels in zip(files, found, strict=True):
        if file.name == "broken.jpg":
            assert isinstance(pixels, ValueError)
        else:
            np.testing.assert_array_equal(pixels, expected)


def test_a_picture_too_large_is_refused():
    with pytest.raises(ValueError, match="4 x 3 pixels, over 1e-06 megapixels"):
        read_picture(np.zeros((3, 4), np.uint8), size_px=(2, 2), max_megapixels=1e-6)


def test_pictures_are_resized_as_unzip_resized_those_that_a_model_learnt_from(folder):
    image = Image.open(folder / "b.png")
    expected = np.asarray(image.resize((2, 4), Image.Resampling.BICUBIC))
    for picture in (folder / "b.png", image, np.asarray(image)):
        [found] = read_pictures([picture], size_px=(4, 2), interpolation="bicubic")
        np.testing.assert_array_equal(found, expected)
