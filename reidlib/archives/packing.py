"""The images of an archive -> one uint8 array per split: decoded in parallel, written row by row in any order."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from reidlib.archives.decode import Interpolation, decode
from reidlib.files import atomic_file
from reidlib.images.split import open_pixels
from reidlib.progress import in_parallel, progress

Slot = tuple[str, int]  # split, row
WriteRow = Callable[[int, UInt8[np.ndarray, "height_px width_px 3"]], None]


def pack(
    items: Iterable[tuple[Slot, bytes | ValueError]],
    arrays: Mapping[str, Path],
    *,
    rows: Mapping[str, int],
    size_px: tuple[int, int],
    max_megapixels: float,
    workers: int,
    interpolation: Interpolation = "bilinear",
) -> dict[Slot, str]:
    """Decode `items` in `workers` threads into the .npy file of each split, uint8 (rows, height, width, 3).

    `items` may come in any order (an archive's); each has its own slot, so the arrays do not depend on it. Few images
    are held in memory at once.

    Args:
        items: each image's split and row, and its bytes or why there are none.
        arrays: the files to write, by split.
        rows: how many each has.
        size_px: height and width.
        max_megapixels: see `decode`.
        workers: threads.
        interpolation: see `decode`.

    Returns:
        What was wrong with each image that could not be read, by slot; its row is left black.

    Raises:
        OSError: The disk is full, or not writable.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # broken EXIF and the like, which pixels do not depend on
        warnings.filterwarnings("ignore", module=r"PIL\.")
        how: dict[str, Any] = {"height_px": size_px[0], "width_px": size_px[1], "max_megapixels": max_megapixels}
        how["interpolation"] = interpolation
        files = {split: stack.enter_context(_row_file(path, rows[split], *size_px)) for split, path in arrays.items()}

        def put(item: tuple[Slot, bytes | ValueError]) -> tuple[Slot, str | None]:
            slot, data = item
            try:
                if isinstance(data, ValueError):
                    raise data
                pixels = decode(data, **how)
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
    source = open_pixels(path)
    kept = np.fromiter(keep, dtype=np.int64)
    with atomic_file(path) as temporary, _row_file(temporary, len(kept), *source.shape[1:3]) as write:
        for row, old in enumerate(kept):
            write(row, source[old])


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
