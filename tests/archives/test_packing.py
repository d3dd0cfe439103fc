"""Packing: every image in its row, whatever the order they come in."""

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from reidlib.archives.decode import decode
from reidlib.archives.packing import Slot, drop_rows, pack
from reidlib.images.split import open_pixels


def small(data: bytes) -> np.ndarray:
    return decode(data, height_px=16, width_px=8, max_megapixels=1.0)


def packed(
    folder: Path, items: Iterable[tuple[Slot, bytes | ValueError]], *, rows: Mapping[str, int], workers: int = 2
) -> dict[Slot, str]:
    arrays = {split: folder / f"{split}.npy" for split in rows}
    return pack(items, arrays, rows=rows, size_px=(16, 8), max_megapixels=1.0, workers=workers)


@pytest.mark.parametrize("workers", [1, 3])
def test_pack_puts_each_image_in_its_slot_whatever_the_order(tmp_path: Path, make_image, workers: int) -> None:
    items = [(("train", row), make_image(row, "PNG")) for row in range(30)]
    items += [(("query", row), make_image(100 + row, "PNG")) for row in range(3)]
    shuffled = [items[place] for place in np.random.default_rng(0).permutation(len(items))]
    rows = {"train": 30, "query": 3, "gallery": 0}
    assert packed(tmp_path, iter(shuffled), rows=rows, workers=workers) == {}
    arrays = {split: open_pixels(tmp_path / f"{split}.npy") for split in rows}
    for (split, row), data in items:
        np.testing.assert_array_equal(arrays[split][row], small(data))
    assert {split: array.shape for split, array in arrays.items()} == {
        split: (count, 16, 8, 3) for split, count in rows.items()
    }
    assert not arrays["train"].flags.writeable


def test_pack_tells_bad_images_by_slot(tmp_path: Path, make_image) -> None:
    items = [(("train", 0), b"text"), (("train", 1), make_image(1)), (("train", 2), ValueError("checksum"))]
    bad = packed(tmp_path, items, rows={"train": 3})
    assert set(bad) == {("train", 0), ("train", 2)}
    assert "no picture" in bad["train", 0]
    assert bad["train", 2] == "checksum"
    drop_rows(tmp_path / "train.npy", [1])
    array = open_pixels(tmp_path / "train.npy")
    assert array.shape == (1, 16, 8, 3)
    np.testing.assert_array_equal(array[0], small(make_image(1)))
    assert [path.name for path in tmp_path.iterdir()] == ["train.npy"]


def test_a_full_disk_is_an_error_not_a_killed_process(tmp_path: Path, make_image, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        packed(tmp_path, [(("train", row), make_image(row)) for row in range(100)], rows={"train": 100})


def test_rows_written_in_parts_are_whole(tmp_path: Path, make_image, monkeypatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: whole(file, data[: max(len(data) // 3, 1)], offset))
    packed(tmp_path, [(("train", 0), make_image(1))], rows={"train": 1}, workers=1)
    np.testing.assert_array_equal(open_pixels(tmp_path / "train.npy")[0], small(make_image(1)))
