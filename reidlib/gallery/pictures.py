"""Pictures as people have them (files, PIL images, arrays of any size) -> RGB pixels of one size, as of `unzip`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from reidlib.archives.decode import KIND_BYTES, Interpolation, decode, picture_kind, resized
from reidlib.progress import in_parallel

Picture = str | Path | Image.Image | np.ndarray
Pixels = UInt8[np.ndarray, "height_px width_px 3"]

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".ppm", ".heic")
MAX_MEGAPIXELS = 50.0  # as unzip.max_megapixels
AHEAD = 8  # pictures read ahead for each thread


def picture_files(place: Path) -> list[Path]:
    """Return the file itself, or the pictures below a folder, sorted; no hidden ones.

    Those are files that begin like a picture, or whose names end like one's, so that a broken one is told of.

    Raises:
        ValueError: where there is no such file or folder, or none in it.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ValueError(f"{place}: expected a picture or a folder of pictures, found neither; check the path")
    found = sorted(
        path
        for path in place.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(place).parts)
        and path.is_file()
        and (path.suffix.lower() in ENDINGS or _begins_like_a_picture(path))
    )
    if not found:
        raise ValueError(f"{place}: expected pictures ({', '.join(ENDINGS[:5])}, …) in it or below, found none")
    return found


def files_of(places: Iterable[Path]) -> list[Path]:
    """Return the pictures of files and folders, each once; see `picture_files`."""
    found: dict[Path, Path] = {}
    for place in places:
        for path in picture_files(place):
            found.setdefault(path.absolute(), path)
    return list(found.values())


def list_pictures(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """Return one picture or several, and the files of a folder, as a list; of an array of images its images.

    Raises:
        ValueError: of a folder without pictures.
    """
    if isinstance(pictures, str | Path):
        folder = Path(pictures)
        return list(picture_files(folder)) if folder.is_dir() else [pictures]
    if isinstance(pictures, Image.Image) or (isinstance(pictures, np.ndarray) and pictures.ndim < 4):
        return [pictures]
    return list(pictures)


def picture_name(picture: Picture, number: int) -> str:
    """Return what a message calls a picture: its path, or its place among the pictures."""
    return str(picture) if isinstance(picture, str | Path) else f"picture {number}"


def read_picture(
    picture: Picture,
    *,
    size_px: tuple[int, int],
    max_megapixels: float = MAX_MEGAPIXELS,
    interpolation: Interpolation = "bilinear",
) -> Pixels:
    """Return a picture as RGB pixels of this height and width; a file's are those that `unzip` makes of it.

    Args:
        picture: the path of a file; a PIL image; or an array, uint8, (h, w, 3) in RGB or (h, w) in grey.
        size_px: height and width.
        max_megapixels: a larger one is refused, a file before it is decoded.
        interpolation: how it is resized, as `unzip.interpolation`.

    Raises:
        ValueError: what cannot be read, with why; the caller names the picture.
    """
    height, width = size_px
    if isinstance(picture, str | Path):
        try:
            data = Path(picture).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror})") from error
        return decode(
            data, height_px=height, width_px=width, max_megapixels=max_megapixels, interpolation=interpolation
        )
    image = _of_array(picture) if isinstance(picture, np.ndarray) else ImageOps.exif_transpose(picture)
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"expected a PIL image of 8 bits, found mode {image.mode}, whose range nobody knows; convert it"
        )
    if image.width * image.height > max_megapixels * 1e6:
        raise ValueError(f"{image.width} x {image.height} pixels, over {max_megapixels:g} megapixels")
    return resized(image.convert("RGB"), height_px=height, width_px=width, interpolation=interpolation)


def read_pictures(
    pictures: Sequence[Picture], *, size_px: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> Iterator[Pixels | ValueError]:
    """Yield the pixels of each picture, in order, read ahead by a thread per core; an error in place of a bad one."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        read = partial(_read, size_px=size_px, interpolation=interpolation)
        yield from in_parallel(pool, read, pictures, most=AHEAD * threads)


def _read(picture: Picture, *, size_px: tuple[int, int], interpolation: Interpolation) -> Pixels | ValueError:
    try:
        return read_picture(picture, size_px=size_px, interpolation=interpolation)
    except ValueError as error:
        return error


def _begins_like_a_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return picture_kind(file.read(KIND_BYTES)) is not None
    except OSError:
        return False


def _of_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or 0 in array.shape or array.shape[2:] not in ((), (3,)) or array.ndim < 2:
        raise ValueError(f"expected an array of uint8, (h, w, 3) in RGB or (h, w) in grey; found {array.dtype} "
                         f"{array.shape}")  # fmt: skip
    return Image.fromarray(array)
