"""Small WebP pictures, as many as are wanted in as many bytes as there are."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from reidlib.progress import progress

FORMS = ((128, 65), (96, 60), (80, 55), (64, 50), (48, 45), (32, 35))  # height in pixels and quality, best first
TRIED = 150  # pictures that a form is measured on
LARGEST = (192, 80)
Picture = UInt8[np.ndarray, "h w 3"]


def thumbnails(pictures: Sequence[Picture], *, most_bytes: int) -> list[bytes]:
    """Return each picture as WebP, none larger than it is, in the best of `FORMS` with which all fit.

    The form is chosen by an even sample; the last one is taken whatever it needs.
    """
    tried = [pictures[number] for number in np.linspace(0, len(pictures) - 1, min(TRIED, len(pictures))).astype(int)]
    for height, quality in FORMS:
        need = sum(len(webp(picture, height_px=height, quality=quality)) for picture in tried)
        if need * len(pictures) <= most_bytes * len(tried):
            break
    return [webp(picture, height_px=height, quality=quality) for picture in progress(pictures, "thumbnails")]


def webp(picture: Picture, *, height_px: int, quality: int) -> bytes:
    """Return a picture as WebP of this height, or its own where that is less."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.height > height_px:
        width = max(1, round(image.width * height_px / image.height))
        image = image.resize((width, height_px), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=quality, method=2)
    return stream.getvalue()


def data_uri(picture: Picture) -> str:
    """Return a large picture as an address that holds it."""
    height, quality = LARGEST
    return "data:image/webp;base64," + base64.b64encode(webp(picture, height_px=height, quality=quality)).decode()


def joined_base64(files: Iterable[bytes]) -> tuple[str, list[int]]:
    """Return all files as one base64 text, and where in it each ends: text[end of the last:end] is one, to itself.

    So that a page makes a picture's address by cutting a text, without decoding any.
    """
    parts = [base64.b64encode(file).decode() for file in files]
    return "".join(parts), np.cumsum([len(part) for part in parts]).tolist()
