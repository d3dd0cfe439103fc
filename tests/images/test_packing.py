"""Decoding and packing: right pixels or a clear refusal."""

import errno
import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reidlib.images.packing import decode, drop_rows, open_array, open_split, pack

SIZE = {"height_px": 16, "width_px": 8}


def small(data: bytes, max_megapixels: float = 1.0) -> np.ndarray:
    return decode(data, **SIZE, max_megapixels=max_megapixels)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pixels_are_those_of_a_plain_decode_and_resize(make_image, kind: str) -> None:
    data = make_image(3, kind)
    plain = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 16), Image.Resampling.BILINEAR)
    found = small(data)
    assert found.shape == (16, 8, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(plain))


def test_an_image_of_the_right_size_is_kept_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(small(saved(Image.fromarray(pixels), "PNG")), pixels)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG")],
)
def test_every_mode_becomes_rgb(make_image, mode: str, kind: str) -> None:
    found = small(make_image(1, kind, mode))
    assert found.shape == (16, 8, 3)
    if mode in ("L", "LA", "1"):
        assert (found[..., 0] == found[..., 1]).all()


def test_16_bit_grey_keeps_its_upper_bits() -> None:
    pixels = np.arange(128, dtype=np.uint16).reshape(16, 8) * 512
    found = small(saved(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(found, np.repeat((pixels >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_alpha_is_dropped_not_composited() -> None:
    pixels = np.full((16, 8, 4), 200, dtype=np.uint8)
    pixels[..., 3] = 0
    assert (small(saved(Image.fromarray(pixels), "PNG")) == 200).all()
    palette = Image.fromarray(pixels[..., :3]).quantize(4)
    assert (small(saved(palette, "PNG", transparency=bytes([0, 0]))) == 200).all()


def test_exif_orientation_is_left_alone(make_image) -> None:
    image = Image.open(io.BytesIO(make_image(5, "PNG")))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    turned, plain = saved(image, "JPEG", exif=exif), saved(image, "JPEG")
    np.testing.assert_array_equal(small(turned), small(plain))


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF....WEBPVP8 ", b"GIF89a"])
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=rf"neither JPEG nor PNG \({len(data)} bytes"):
        small(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_images_are_refused(make_image, kind: str) -> None:
    data = make_image(2, kind, size=(60, 60))
    for size in (10, len(data) // 2):
        with pytest.raises(ValueError, match="cannot be decoded"):
            small(data[:size])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def test_a_png_with_any_bit_turned_is_refused(make_image) -> None:
    whole = make_image(2, "PNG")
    for place in np.random.default_rng(0).integers(0, len(whole), 200):
        data = bytearray(whole)
        data[place] ^= 1 << int(place) % 8
        with pytest.raises(ValueError, match=r"neither JPEG nor PNG|cannot be decoded"):
            small(bytes(data))
    np.testing.assert_array_equal(small(whole + b"behind the end"), small(whole))


def test_a_bomb_in_a_pngs_text_is_refused(make_image) -> None:
    whole = make_image(2, "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**24)))
    with pytest.raises(ValueError, match=r"Decompressed data too large"):
        small(whole[:33] + text + whole[33:])


def giant_png(width: int, height: int) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_absurd_sizes_are_refused_by_the_header(make_image) -> None:
    with pytest.raises(ValueError, match="100000 x 100000 pixels, over max_megapixels = 50"):
        small(giant_png(100_000, 100_000), max_megapixels=50.0)
    jpeg = make_image(0, size=(20, 40)).replace(struct.pack(">HH", 40, 20), struct.pack(">HH", 65_500, 65_500), 1)
    with pytest.raises(ValueError, match="65500 x 65500 pixels"):
        small(jpeg, max_megapixels=50.0)
    with pytest.raises(ValueError, match="over max_megapixels"):
        small(make_image(0, size=(20, 41)), max_megapixels=0.0008)
    small(make_image(0, size=(20, 40)), max_megapixels=0.0008)


def test_endless_progressive_scans_are_refused(make_image) -> None:
    image = Image.open(io.BytesIO(make_image(0)))
    progressive = saved(image, "JPEG", progressive=True)
    small(progressive)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="over 64 scans"):
        small(progressive[:-2] + scan * 100 + progressive[-2:])


@pytest.mark.parametrize("workers", [1, 3])
def test_pack_puts_each_image_in_its_slot_whatever_the_order(tmp_path: Path, make_image, workers: int) -> None:
    items = [(("train", row), make_image(row, "PNG")) for row in range(30)]
    items += [(("query", row), make_image(100 + row, "PNG")) for row in range(3)]
    shuffled = [items[place] for place in np.random.default_rng(0).permutation(len(items))]
    options = {"size_px": (16, 8), "max_megapixels": 1.0, "workers": workers}
    assert pack(iter(shuffled), tmp_path, rows={"train": 30, "query": 3}, **options) == {}
    for (split, row), data in items:
        np.testing.assert_array_equal(open_split(tmp_path, split)[row], small(data))
    assert open_split(tmp_path, "train").shape == (30, 16, 8, 3)
    assert not open_split(tmp_path, "train").flags.writeable


def test_pack_tells_bad_images_by_slot(tmp_path: Path, make_image) -> None:
    items = [(("train", 0), b"text"), (("train", 1), make_image(1)), (("train", 2), ValueError("checksum"))]
    bad = pack(items, tmp_path, rows={"train": 3}, size_px=(16, 8), max_megapixels=1.0, workers=2)
    assert set(bad) == {("train", 0), ("train", 2)}
    assert "neither JPEG" in bad["train", 0]
    assert bad["train", 2] == "checksum"
    drop_rows(tmp_path / "train.npy", [1])
    assert open_split(tmp_path, "train").shape == (1, 16, 8, 3)
    np.testing.assert_array_equal(open_split(tmp_path, "train")[0], small(make_image(1)))
    assert [path.name for path in tmp_path.iterdir()] == ["train.npy"]


def test_a_full_disk_is_an_error_not_a_killed_process(tmp_path: Path, make_image, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    items = [(("train", row), make_image(row)) for row in range(100)]
    with pytest.raises(OSError, match="No space left"):
        pack(items, tmp_path, rows={"train": 100}, size_px=(16, 8), max_megapixels=1.0, workers=2)


def test_rows_written_in_parts_are_whole(tmp_path: Path, make_image, monkeypatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: whole(file, data[: max(len(data) // 3, 1)], offset))
    pack([(("train", 0), make_image(1))], tmp_path, rows={"train": 1}, size_px=(16, 8), max_megapixels=1.0, workers=1)
    np.testing.assert_array_equal(open_split(tmp_path, "train")[0], small(make_image(1)))


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train\.npy: no such file; run the stage unzip"):
        open_split(tmp_path, "train")
    path = tmp_path / "train.npy"
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged"):
        open_array(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged"):
        open_array(path)
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes() + b"1")
    with pytest.raises(ValueError, match=r"damaged \(1,665 bytes, expected 1,664\); run the stage unzip again"):
        open_array(path)
    np.save(path, np.zeros((4, 16, 8, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"float32 \(4, 16, 8, 3\); expected uint8"):
        open_array(path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="truncated or damaged"):
        open_array(path)


READER = """
import sys, pathlib
from reidlib.artifacts import atomic_file
from reidlib.images.packing import open_array
rows = open_array(pathlib.Path(sys.argv[1]))
with atomic_file(pathlib.Path(sys.argv[2])) as temporary:
    print(int(rows[0].sum()), flush=True)
    sys.stdin.readline()
    temporary.write_text(str(int(rows[-1].sum())))
"""


@pytest.mark.parametrize("how", ["replaced", "truncated"])
def test_a_file_changed_under_its_reader(tmp_path: Path, how: str) -> None:
    path, result = tmp_path / "train.npy", tmp_path / "sum.txt"
    np.save(path, np.ones((1000, 64, 32, 3), dtype=np.uint8))
    command = [sys.executable, "-c", READER, str(path), str(result)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"6144\n"
        if how == "replaced":  # as DVC and this library do: the reader keeps the file that it opened
            np.save(tmp_path / "new.npy", np.zeros((2, 64, 32, 3), dtype=np.uint8))
            (tmp_path / "new.npy").rename(path)
        else:  # in place, as neither does: the reader is killed, and what it was writing never appears
            os.truncate(path, 4096)
        process.communicate(b"\n", timeout=60)
    assert process.returncode == (0 if how == "replaced" else -signal.SIGBUS)
    assert result.exists() == (how == "replaced")
    if how == "replaced":
        assert result.read_text() == "6144"
    else:
        with pytest.raises(ValueError, match=r"train\.npy: truncated or damaged .*run the stage unzip again"):
            open_array(path)
