"""Mutated files from strangers: does each end in a clear refusal or in the right data, never in a crash or a hang?

    python -m benchmarks.fuzz [--images 10000] [--seed 0]

Whole files (JPEG: baseline, progressive, grey, CMYK, with EXIF, with restart marks; PNG: RGB, alpha, palette, grey, 1
and 16 bits; the other formats that are read, RGB and grey; zip, tar, tar.gz; rows.parquet; pixels.npy) are damaged in
one to four places: a bit turned, bytes set, cut out, doubled, made random, made huge, swapped, the end cut off. Another
process reads them, so that a crash or a hang (ten seconds) is seen and counted. Two thirds of the images are JPEGs.
Writes benchmarks/results/fuzz.md.

What "right" means. Of PNG, zip, tar.gz and parquet, what is accepted must be what was saved, pixel for pixel and byte
for byte. JPEG, the other formats, tar and npy carry no checksum: what is accepted must be what Pillow makes of the same
bytes, or the bytes that are there, in the right shape. Those that come out as before the damage are counted apart.
"""

import argparse
import io
import multiprocessing
import tarfile
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, suppress
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from reidlib.archives.archive import list_archive, read_members
from reidlib.archives.decode import decode
from reidlib.images.split import PIXELS_FILE, ROWS_FILE, open_pixels, read_rows, write_rows

ROOT = Path(__file__).parents[1]
HANG_SECONDS = 10.0
SIZE = {"height_px": 32, "width_px": 16}
REFUSED, SAME, OTHER = "refused", "as before", "as the damaged bytes say"
CRASH, HANG, EXCEPTION, SILENT = "crashes", "hangs", "other exceptions", "silent errors"
BAD = (CRASH, HANG, EXCEPTION, SILENT)


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Damage one to four places of a file, in one of eight ways each; never the same file."""
    found = bytearray(data)
    for _ in range(generator.integers(1, 5)):
        place, other = (int(number) for number in generator.integers(0, len(found), 2))
        length = int(generator.integers(1, 64))
        match int(generator.integers(0, 8)):
            case 0:
                found[place] ^= 1 << length % 8
            case 1:
                found[place] = length
            case 2:
                del found[max(place, 1) : place + length]
            case 3:
                found[place:place] = found[place : place + length]
            case 4:
                found[place : place + length] = generator.bytes(length)
            case 5:
                found[place : place + 4] = b"\xff\xff\xff\xfe"  # a length or a size beyond everything
            case 6:
                found[place], found[other] = found[other], found[place]
            case 7:
                del found[max(place, 16) :]
    return bytes(found) if found != data else mutated(data, generator)


def whole_images(kind: str) -> list[bytes]:
    """Undamaged images of every common make."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((64, 128), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "description"

    def saved(image: Image.Image, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    if kind == "PNG":
        return [saved(picture.convert(mode)) for mode in ("RGB", "RGBA", "P", "L", "1")] + [saved(deep)]
    if kind != "JPEG":
        return [saved(picture), saved(picture.convert("L"))]
    options = ({}, {"progressive": True}, {"exif": exif}, {"restart_marker_blocks": 2}, {"subsampling": 0})
    return [saved(picture, **some) for some in options] + [saved(picture.convert(mode)) for mode in ("L", "CMYK")]


def whole_archives(kind: str) -> list[bytes]:
    """An undamaged archive of three images and a list."""
    names = {f"set/query/{number:04d}_c1s1_000001_01.jpg": whole_images("JPEG")[0] for number in range(3)}
    names["set/list_train.txt"] = b"0000/0000_000_01_0303morning_0008_0.jpg 0\n"
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in names.items():
                archive.writestr(name, data)
        return [file.getvalue()]
    with tarfile.open(fileobj=file, mode="w:gz" if kind == "tar.gz" else "w") as tar:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return [file.getvalue()]


def whole_tables(kind: str) -> list[bytes]:
    """An undamaged table of 30 images, or their array; both are written where the process stands."""
    ids = [f"{number * 2**50:016x}" for number in range(30)]
    write_rows(Path(), pd.DataFrame({"image": ids, "camera": 1, "tracklet": -1, "frame": range(30)}))
    np.save(PIXELS_FILE, np.random.default_rng(0).integers(0, 256, (30, 2, 1, 3), dtype=np.uint8))
    return [Path(kind).read_bytes()]


def read_image(kind: str, data: bytes, whole: bytes) -> str:
    """Decode; hold what is accepted against the undamaged image, and all but a PNG against Pillow's own way."""
    found = decode(data, **SIZE, max_megapixels=10.0)
    if np.array_equal(found, decode(whole, **SIZE, max_megapixels=10.0)):
        return SAME
    if kind == "PNG":
        return SILENT
    plain = Image.open(io.BytesIO(data), formats=[kind])
    with suppress(Exception):  # EXIF data too damaged to say how to turn it
        plain = ImageOps.exif_transpose(plain)
    expected = plain.convert("RGB").resize((SIZE["width_px"], SIZE["height_px"]), Image.Resampling.BILINEAR)
    return OTHER if np.array_equal(found, np.asarray(expected)) else SILENT


def read_archive(kind: str, data: bytes, whole: bytes) -> str:
    """List and read; every file that comes out must be one that was put in."""

    def members(content: bytes) -> dict[str, bytes | ValueError]:
        path = Path(f"case.{kind}")
        path.write_bytes(content)
        return dict(read_members(path, list_archive(path).names))

    original, found = members(whole), members(data)
    if any(isinstance(value, ValueError) for value in found.values()):
        return REFUSED  # the file inside, by its checksum
    if set(found.values()) <= set(original.values()) and len(found) == len(original):
        return SAME
    return OTHER if kind == "tar" else SILENT


def read_parquet(kind: str, data: bytes, whole: bytes) -> str:
    """Read the table; what is accepted must be what was written."""
    Path(kind).write_bytes(whole)
    original = read_rows(Path())
    Path(kind).write_bytes(data)
    return SAME if read_rows(Path()).equals(original) else SILENT


def read_array(kind: str, data: bytes, whole: bytes) -> str:
    """Map the 30 images and look at every byte; their number and size are checked by those who open them."""
    Path(kind).write_bytes(data)
    array = open_pixels(Path(kind))
    return SAME if array.tobytes() == whole[-array.size :] else OTHER


Make, Read = Callable[[str], list[bytes]], Callable[[str, bytes, bytes], str]
KINDS: dict[str, tuple[float, Make, Read]] = {
    "JPEG": (2 / 3, whole_images, read_image),
    "PNG": (1 / 3, whole_images, read_image),
    "zip": (0.2, whole_archives, read_archive),
    "tar": (0.2, whole_archives, read_archive),
    "tar.gz": (0.2, whole_archives, read_archive),
    ROWS_FILE: (0.2, whole_tables, read_parquet),
    PIXELS_FILE: (0.2, whole_tables, read_array),
    **dict.fromkeys(("WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"), (0.05, whole_images, read_image)),
}


def became(kind: str, number: int, wholes: list[bytes], *, seed: int) -> tuple[str, str, float]:
    """Read the damaged file of this number; return what became of it, a word on it, and the seconds it took."""
    whole, read = wholes[number % len(wholes)], KINDS[kind][2]
    data = mutated(whole, np.random.default_rng((seed, list(KINDS).index(kind), number)))
    began, word = perf_counter(), ""
    try:
        what = read(kind, data, whole)
    except ValueError as error:
        what, word = (REFUSED if str(error) else SILENT), str(error)
        if read is read_archive and not word.startswith(f"case.{kind}: "):
            what = EXCEPTION
    except Exception:
        what, word = EXCEPTION, traceback.format_exc(limit=-1, chain=False)
    return what, word, perf_counter() - began


def read_cases(sender: Connection, kind: str, numbers: range, seed: int) -> None:
    """Read the damaged files of these numbers, one after the other, and send what became of each."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        wholes = KINDS[kind][1](kind)
        for number in numbers:
            sender.send(became(kind, number, wholes, seed=seed))


def fuzz(kind: str, count: int, *, seed: int) -> tuple[Counter[str], float]:
    """Return what became of `count` damaged files, and the longest time that one took."""
    counts: Counter[str] = Counter()
    slowest, number = 0.0, 0
    while number < count:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=read_cases, args=(sender, kind, range(number, count), seed))
        process.start()
        sender.close()
        ended = False
        while number < count and not ended:
            try:
                ended = not receiver.poll(HANG_SECONDS + 20 * (number == 0))  # the first is slow: imports
                what, word, seconds = (HANG, "", HANG_SECONDS) if ended else receiver.recv()
            except EOFError:
                what, word, seconds, ended = CRASH, "", 0.0, True
            counts[what] += 1
            slowest = max(slowest, seconds)
            if what in BAD:
                print(f"{kind} case {number}: {what} {word}", flush=True)
            number += 1
        if ended:
            process.kill()
        process.join()
    return counts, slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    columns = (REFUSED, SAME, OTHER, *BAD)
    table = [f"| file | damaged | {' | '.join(columns)} | slowest (s) |", "|---|" + "---|" * (len(columns) + 2)]
    bad = 0
    for kind, (share, _, _) in KINDS.items():
        counts, slowest = fuzz(kind, round(arguments.images * share), seed=arguments.seed)
        cells = [f"{counts.total():,}", *(f"{counts[name]:,}" for name in columns), f"{slowest:.2f}"]
        table.append(f"| {kind} | {' | '.join(cells)} |")
        print(table[-1], flush=True)
        bad += sum(counts[name] for name in BAD)
    head = (
        f"Measured {date.today()} by `python -m benchmarks.fuzz --images {arguments.images} --seed {arguments.seed}`."
    )
    text = "\n\n".join([head, "\n".join(table), *__doc__.split("\n\n")[2:]])
    (ROOT / "benchmarks/results/fuzz.md").write_text(text)
    if bad:
        raise SystemExit(f"{bad} of them went wrong: see above")


if __name__ == "__main__":
    main()
