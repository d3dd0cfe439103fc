"""The bytes of a picture from a stranger -> upright RGB pixels, or a refusal that says why.

`read_picture` is the one way in which a picture file is read, before training and after it.
"""

import io
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

Interpolation = Literal["bilinear", "bicubic"]

KIND_BYTES = 32  # of a file's beginning tell its kind
READ: Mapping[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "AVIF": AvifImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
    "JPEG 2000": Jpeg2KImageFile,
    "PPM": PpmImageFile,
}
_KINDS = {  # by how a file begins; those that are not in READ are pictures of formats that nothing here can read
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF.{4}WEBP",
    "AVIF": rb".{4}ftyp(?:avi[fs]|mi[fa]1.{4,20}avif)",
    "HEIC": rb".{4}ftyp(?:he[iv][cfsmx]|mi[fa]1|msf1)",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II\*\0|MM\0\*",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "PPM": rb"P[56]\s[0-9#]",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "PSD": rb"8BPS",
}
_PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _KINDS.items()}
_TURNED = {  # EXIF's orientation, and what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_MOST_SCANS = 64  # of a progressive JPEG; usual ones have about ten, crafted ones take minutes


def picture_kind(start: bytes) -> str | None:
    """Return the format that a file's first `KIND_BYTES` bytes tell, None where they are no known picture's.

    >>> picture_kind(b"GIF89a"), picture_kind(b"path,identity")
    ('GIF', None)
    """
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(start)), None)


def read_picture(data: bytes, *, max_megapixels: float = 50.0) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture file as it is meant to be seen: RGB, turned as its EXIF orientation says.

    Its format (`READ`) is told by content, not by name; of a moving picture the first frame is read. Everything becomes
    8-bit RGB: grey is repeated, CMYK converted, of 16 bits the upper 8 are kept, alpha is dropped (no background is put
    behind it). EXIF data that cannot be read turn nothing.

    Raises:
        ValueError: Another format, over `max_megapixels` by its header (checked before any pixel is decoded), truncated
            or damaged. The message does not name the picture; the caller does.
    """
    return np.asarray(_upright(data, max_megapixels))


def decode(
    data: bytes, *, height_px: int, width_px: int, max_megapixels: float, interpolation: Interpolation = "bilinear"
) -> UInt8[np.ndarray, "height_px width_px 3"]:
    """Return `read_picture` in the given size, resized from the full picture (antialiased, as Pillow does).

    JPEGs are never decoded at reduced scale, since that changes the pixels.

    Raises:
        ValueError: As `read_picture`.
    """
    return resized(_upright(data, max_megapixels), height_px=height_px, width_px=width_px, interpolation=interpolation)


def resized(
    image: Image.Image, *, height_px: int, width_px: int, interpolation: Interpolation
) -> UInt8[np.ndarray, "height_px width_px 3"]:
    """Return an RGB image in the given size."""
    return np.asarray(image.resize((width_px, height_px), Image.Resampling[interpolation.upper()]))


def _upright(data: bytes, max_megapixels: float) -> Image.Image:
    try:
        image = _open(data)
        if image.width * image.height > max_megapixels * 1e6:
            raise ValueError(f"{image.width} x {image.height} pixels, over max_megapixels = {max_megapixels:g}")
        image.load()
        turn = _TURNED.get(_orientation(image))
        return _rgb(image) if turn is None else _rgb(image).transpose(turn)
    except ValueError:
        raise
    except MemoryError as error:
        raise ValueError("does not fit in memory") from error
    except Exception as error:  # a foreign image: Pillow's plugins raise nearly every type there is
        raise ValueError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _open(data: bytes) -> ImageFile.ImageFile:
    """Return the image with its header read and no pixel decoded.

    The plugins are called by name: no other format is ever tried, and `PIL.Image.open`'s own limit (a process-wide
    setting, a warning first) plays no part.
    """
    kind = picture_kind(data[:KIND_BYTES])
    if kind is None or kind not in READ:
        what = f"{kind}, a format that is not read" if kind else "no picture of a format that is read"
        raise ValueError(f"{what} ({len(data):,} bytes, beginning {data[:8]!r})")
    if kind == "JPEG" and data.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError(f"a JPEG with over {_MOST_SCANS} scans; refused")
    if kind == "PNG":
        _check_png(data)
    return READ[kind](io.BytesIO(data))


def _check_png(data: bytes) -> None:
    """Refuse a PNG with a damaged chunk, or without its end (Pillow leaves the checksums of pixels unread)."""
    view, kind, end = memoryview(data), b"", 8
    while kind != b"IEND":
        start, end = end, end + 12 + int.from_bytes(data[end : end + 4], "big")
        if end > len(data):
            raise ValueError("cannot be decoded (a truncated PNG)")
        kind = data[start + 4 : start + 8]
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"cannot be decoded (a PNG whose part {kind!r} is damaged)")


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation of a loaded image (Pillow turns a TIFF itself, and takes the value away)."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF data, which raise nearly every type there is: viewers show it unturned, too
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        if image.mode == "I" and image.format == "TIFF":
            raise ValueError("a TIFF of 32-bit grey, whose range nobody knows; save it with 8 bits")
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise ValueError("a TIFF of fractions, whose range nobody knows; save it with 8 bits")
    if image.mode == "P":  # by way of RGBA, or transparent palettes warn
        image = image.convert("RGBA")
    return image.convert("RGB")
