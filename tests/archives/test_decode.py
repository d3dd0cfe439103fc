"""Decoding: right pixels or a clear refusal."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from reidlib.archives.decode import KIND_BYTES, decode, picture_kind, read_picture

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


def test_pixels_are_bicubic_where_that_is_wanted(make_image) -> None:
    data = make_image(3, "PNG")
    plain = Image.open(io.BytesIO(data)).convert("RGB").resize((8, 16), Image.Resampling.BICUBIC)
    found = decode(data, **SIZE, max_megapixels=1.0, interpolation="bicubic")
    np.testing.assert_array_equal(found, np.asarray(plain))
    assert not np.array_equal(found, small(data))


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


# EXIF's orientation -> where the first row and the first column of what is stored belong [EXIF 2.3, tag 0x0112]
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
def test_a_picture_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    stored = read_picture(saved(Image.fromarray(pixels), kind, **options))
    assert kind == "JPEG" or np.array_equal(stored, pixels)
    turned = saved(Image.fromarray(pixels), kind, exif=exif, **options)
    expected = UPRIGHT.get(orientation, UPRIGHT[1])(stored)
    np.testing.assert_array_equal(read_picture(turned), expected)
    resized = Image.fromarray(np.ascontiguousarray(expected)).resize((8, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small(turned), np.asarray(resized))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_turns_nothing(make_image) -> None:
    image = Image.open(io.BytesIO(make_image(5, "PNG")))
    plain = saved(image, "JPEG")
    for broken in (b"Exif\0\0MM\0*\0\0\0", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        np.testing.assert_array_equal(small(saved(image, "JPEG", exif=broken)), small(plain))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000"])
def test_a_picture_is_known_by_its_content(make_image, kind: str) -> None:
    image = Image.open(io.BytesIO(make_image(4, "PNG"))).convert("L")
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
    data = saved(image, kind, **lossless)
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    assert (picture_kind(data[:KIND_BYTES]) or "").replace(" ", "").upper() == kind
    np.testing.assert_array_equal(read_picture(data), np.asarray(plain))
    assert np.abs(read_picture(data).astype(int) - np.asarray(image.convert("RGB"))).max() <= 3


def test_of_a_moving_picture_the_first_frame_is_read() -> None:
    first, second = (Image.fromarray(np.full((16, 8, 3), grey, np.uint8)) for grey in (10, 200))
    for kind in ("GIF", "PNG", "TIFF"):
        assert (small(saved(first, kind, save_all=True, append_images=[second])) == 10).all()


def test_a_format_that_is_not_read_is_named() -> None:
    for data, name in (
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"8BPS\0\1", "PSD"),
    ):
        with pytest.raises(ValueError, match=f"^{name}, a format that is not read"):
            small(data)
    with pytest.raises(ValueError, match="32-bit grey, whose range nobody knows"):
        small(saved(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"))
    with pytest.raises(ValueError, match="fractions, whose range nobody knows"):
        small(saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"))


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF....WAVEfmt ", b"path,identity", b"BMW drives away, slowly"])
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=rf"no picture of a format that is read \({len(data)} bytes"):
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
        with pytest.raises(ValueError, match=r"no picture of a format that is read|cannot be decoded"):
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
