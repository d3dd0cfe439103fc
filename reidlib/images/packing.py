"""Images as one uint8 array per split: decoded in parallel, resized, written row by row, opened as memory maps."""

import io
import os
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from reidlib.artifacts import atomic_file
from reidlib.progress import progress

Slot = tuple[str, int]  # split, row
WriteRow = Callable[[int, UInt8[np.ndarray, "height_px width_px 3"]], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

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
        image = _opened(data)
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


def pack(
    items: Iterable[tuple[Slot, bytes | ValueError]],
    folder: Path,
    *,
    rows: Mapping[str, int],
    size_px: tuple[int, int],
    max_megapixels: float,
    workers: int,
) -> dict[Slot, str]:
    """Decode `items` in `workers` threads into ``folder/<split>.npy``, uint8 (rows, height, width, 3).

    `items` may come in any order (an archive's); each has its own slot, so the arrays do not depend on it. `rows` gives
    each split's length, `size_px` height and width. Few images are held in memory at once.

    Returns:
        What was wrong with each image that could not be read, by slot; its row is left black.

    Raises:
        OSError: The disk is full, or not writable.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # broken EXIF and the like, which pixels do not depend on
        warnings.filterwarnings("ignore", module=r"PIL\.")
        files = {
            split: stack.enter_context(_row_file(folder / f"{split}.npy", count, *size_px))
            for split, count in rows.items()
        }

        def put(item: tuple[Slot, bytes | ValueError]) -> tuple[Slot, str | None]:
            slot, data = item
            try:
                if isinstance(data, ValueError):
                    raise data
                pixels = decode(data, height_px=size_px[0], width_px=size_px[1], max_megapixels=max_megapixels)
            except ValueError as error:
                return slot, str(error)
            files[slot[0]](slot[1], pixels)
            return slot, None

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        results = in_parallel(pool, put, items, most=8 * workers)
        bar = progress(results, "decoding images", total=sum(rows.values()))
        return {slot: problem for slot, problem in bar if problem is not None}


def drop_rows(path: Path, keep: Iterable[int]) -> None:
    """Rewrite the array at `path` with only the rows `keep` (increasing), whole or not at all."""
    source = open_array(path)
    kept = np.fromiter(keep, dtype=np.int64)
    with atomic_file(path) as temporary, _row_file(temporary, len(kept), *source.shape[1:3]) as write:
        for row, old in enumerate(kept):
            write(row, source[old])


def open_split(images: Path, split: str) -> UInt8[np.ndarray, "n height_px width_px 3"]:
    """Return one split of an images folder as `open_array` does."""
    return open_array(images / f"{split}.npy")


def open_array(path: Path) -> UInt8[np.ndarray, "n height_px width_px 3"]:
    """Return the packed images at `path` as a read-only memory map.

    Raises:
        ValueError: The array is damaged, truncated or of another kind.
        FileNotFoundError: There is no such file.
    """
    array = open_npy(path, mend="run the stage unzip again (`dvc repro unzip`)")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise ValueError(f"{path}: {array.dtype} {array.shape}; expected uint8 (images, height, width, 3)")
    return array


def open_npy(path: Path, *, mend: str) -> np.memmap:
    """Return the .npy file at `path` as a read-only memory map; `mend` is what to do where it cannot be.

    Who truncates the file in place while it is mapped kills its readers (SIGBUS); one that replaces it does not.

    Raises:
        ValueError: The file is damaged, longer or shorter than it says, or holds Python objects.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {mend}")
    try:
        array: np.memmap = np.lib.format.open_memmap(path, mode="r")  # np.load would take a zip too
        size, expected = path.stat().st_size, array.offset + array.nbytes
        if size != expected:
            raise ValueError(f"{size:,} bytes, expected {expected:,}")
    except Exception as error:  # numpy raises nearly every type there is on a damaged header
        raise ValueError(f"{path}: truncated or damaged ({error}); {mend}") from error
    return array


def in_parallel(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], *, most: int
) -> Iterator[Result]:
    """Yield ``function(item)`` in order, with at most `most` items taken ahead."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _row_file(path: Path, rows: int, height_px: int, width_px: int) -> Iterator[WriteRow]:
    """Make an .npy file of black images; yield what writes a row, in any order, from any thread.

    Written with ``pwrite``, not through a memory map: a full disk is then an OSError instead of a killed process.
    """
    shape = (rows, height_px, width_px, 3)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        file.truncate(offset + int(np.prod(shape, dtype=np.int64)))
        file.flush()

        def write(row: int, pixels: UInt8[np.ndarray, "height_px width_px 3"]) -> None:
            data = memoryview(pixels.tobytes())
            place = offset + row * len(data)
            while data:  # the kernel writes what fits; where nothing does, the next write tells why
                written = os.pwrite(file.fileno(), data, place)
                data, place = data[written:], place + written

        yield write


def _opened(data: bytes) -> ImageFile.ImageFile:
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
