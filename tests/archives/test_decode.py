"""Decoding: right pixels or a clear refusal."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from reidlib.archives.decode import decode

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
