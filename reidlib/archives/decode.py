"""The bytes of a JPEG or PNG from a stranger -> RGB pixels of one size, or a refusal that says why."""

import io
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_SCANS = 64  # of a progressive JPEG; usual ones have about ten, crafted ones take minutes


def decode(
    data: bytes, *, height_px: int, width_px: int, max_megapixels: float
) -> UInt8[np.ndarray, "height_px width_px 3"]:
    """Return a JPEG or PNG as RGB of the given size, resized from the full image (bilinear, antialiased).

    Told by content, not by name. Everything becomes 8-bit RGB: grey is repeated, CMYK converted, of 16 bits the upper 8
    are kept, alpha is dropped (no background is put behind it). The EXIF orientation is left alone on purpose: crops
    are made from frames as stored, and a turned one would not match its neighbours. JPEGs are never decoded at reduced
    scale, since that changes the pixels.

    Raises:
        ValueError: Neither JPEG nor PNG, over `max_megapixels` by its header (checked before any pixel is decoded),
            truncated or damaged. The message does not name the image; the caller does.
    """
    try:
        image = _open(data)
        if image.width * image.height > max_megapixels * 1e6:
            raise ValueError(f"{image.width} x {image.height} pixels, over max_megapixels = {max_megapixels:g}")
        small = _rgb(image).resize((width_px, height_px), Image.Resampling.BILINEAR)
    except ValueError:
        raise
    except MemoryError as error:
        raise ValueError("does not fit in memory") from error
    except Exception as error:  # a foreign image: Pillow's plugins raise nearly every type there is
        raise ValueError(f"cannot be decoded ({type(error).__name__}: {error})") from error
    return np.asarray(small)


def _open(data: bytes) -> ImageFile.ImageFile:
    """Return the image with its header read and no pixel decoded.

    The plugins are called by name: no other format is ever tried, and `PIL.Image.open`'s own limit (a process-wide
    setting, a warning first) plays no part.
    """
    if data.startswith(b"\xff\xd8\xff"):
        if data.count(b"\xff\xda") > _MOST_SCANS:
            raise ValueError(f"a JPEG with over {_MOST_SCANS} scans; refused")
        return JpegImageFile(io.BytesIO(data))
    if data.startswith(_PNG):
        _check_png(data)
        return PngImageFile(io.BytesIO(data))
    raise ValueError(f"neither JPEG nor PNG ({len(data):,} bytes, beginning {data[:8]!r})")


def _check_png(data: bytes) -> None:
    """Refuse a PNG with a damaged chunk, or without its end (Pillow leaves the checksums of pixels unread)."""
    view, kind, end = memoryview(data), b"", len(_PNG)
    while kind != b"IEND":
        start, end = end, end + 12 + int.from_bytes(data[end : end + 4], "big")
        if end > len(data):
            raise ValueError("cannot be decoded (a truncated PNG)")
        kind = data[start + 4 : start + 8]
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"cannot be decoded (a PNG whose part {kind!r} is damaged)")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "P":  # by way of RGBA, or transparent palettes warn
        image = image.convert("RGBA")
    return image.convert("RGB")
