"""From the raw archive to packed images, index and identities: the whole of the stage ``unzip``."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from reidlib.artifacts import atomic_file, atomic_folder
from reidlib.images.archive import ARCHIVE_ENDINGS, LIMITS, Contents, Entry, Listing, list_archive, read_members, shown
from reidlib.images.members import Limits
from reidlib.images.packing import Slot, drop_rows, pack
from reidlib.images.readers import READERS, warn_of_unusual_counts
from reidlib.images.table import INDEX_FILE, SPLITS, in_order, write_identities, write_index

_DISTRACTORS = "distractors_500k"


def unpack(
    raw: Path,
    images: Path,
    identities: Path,
    *,
    reader: str,
    height_px: int,
    width_px: int,
    on_bad_image: Literal["error", "skip"],
    max_megapixels: float,
    workers: int,
    max_unpacked_gib: float = LIMITS.total_bytes / 2**30,
    max_unpacking_ratio: float = LIMITS.ratio,
) -> dict[str, float]:
    """Write the images folder and the identities table of the one archive in `raw`; both appear whole or not at all.

    The result depends on the archive's content and the parameters alone: not on its members' order, nor on `workers`.
    Rows are ordered by image id, a hash of the file's name, so that no order tells an identity.

    Args:
        raw: The folder that holds the archive as downloaded (market1501: distractors_500k.zip may lie beside it).
        images: The folder to write: train.npy, query.npy, gallery.npy and index.parquet.
        identities: The parquet to write; zero rows where the dataset has no identities.
        reader: Which of `READERS` understands the archive.
        height_px: Height of the packed images.
        width_px: Their width.
        on_bad_image: Unreadable images are one error that names them all, or left out, counted and warned of.
        max_megapixels: Images larger than this by their header are bad ones.
        workers: Threads that decode.
        max_unpacked_gib: An archive that unpacks to more is refused as a zip bomb.
        max_unpacking_ratio: Likewise, in multiples of its own size.

    Returns:
        train_images, query_images, gallery_images, cameras (known ones), bad_images, junk_dropped, and the reader's
        own facts (msmt17_version).

    Raises:
        ValueError: No archive, two, a damaged one, another dataset's, a hostile one, unreadable images.
    """
    if reader not in READERS:
        raise ValueError(f"no reader {reader!r} for datasets; there are {shown(READERS)}")
    limits = Limits(total_bytes=int(max_unpacked_gib * 2**30), ratio=max_unpacking_ratio)
    archives = find_archives(raw, reader=reader)
    contents = [list_archive(archive, limits=limits) for archive in archives]
    listing = READERS[reader](contents)
    warn_of_unusual_counts(reader, listing)
    table = image_table(listing, contents)
    with atomic_file(identities) as identities_file, atomic_folder(images) as folder:
        bad = pack(
            _items(archives, table, limits),
            folder,
            rows={str(split): int(count) for split, count in table["split"].value_counts(sort=False).items()},
            size_px=(height_px, width_px),
            max_megapixels=max_megapixels,
            workers=workers,
        )
        kept = _without_bad(table, bad, folder, on_bad_image) if bad else table
        write_index(folder / INDEX_FILE, kept)
        write_identities(identities_file, kept[kept["identity"] >= 0].reset_index(drop=True))
    return _metrics(kept, listing, bad_images=len(bad))


def find_archives(raw: Path, *, reader: str) -> list[Path]:
    """Return the one archive in the folder `raw`; for market1501 the distractors' archive, if there, comes second.

    Raises:
        ValueError: There is none, or more than one.
        FileNotFoundError: There is no such folder.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; make it and put the dataset's archive there as downloaded")
    found = sorted(path for path in raw.iterdir() if not path.name.startswith("."))
    archives = [path for path in found if path.is_file() and path.name.lower().endswith(ARCHIVE_ENDINGS)]
    extra = [path for path in archives if reader == "market1501" and path.name.startswith(_DISTRACTORS)]
    main = [path for path in archives if path not in extra]
    if not main:
        raise ValueError(
            f"{raw}: no archive ({', '.join(ARCHIVE_ENDINGS)}) for {reader}; found: {shown([p.name for p in found])}; "
            "put the dataset's archive there as downloaded, not unpacked"
        )
    if len(main) > 1 or len(extra) > 1:
        raise ValueError(
            f"{raw}: {len(archives)} archives, expected one: {shown([p.name for p in archives])}; "
            "leave the dataset's own there and move the others away"
        )
    return main + extra


def image_id(raw_name: bytes) -> str:
    """Return the opaque id of an image: 16 hex digits of the blake2b of its name's bytes inside the archive.

    >>> image_id(b"bounding_box_train/0002_c1s1_000451_03.jpg")
    '3c1509cdbb311e4f'
    """
    return blake2b(raw_name, digest_size=8).hexdigest()


def image_table(listing: Listing, contents: Sequence[Contents]) -> pd.DataFrame:
    """Return the index's columns with source, name and identity (-1: unknown), ordered by split, then image id.

    Cameras that the reader does not know become one camera of their own, after the known ones.

    Raises:
        ValueError: No training images; two images of one id; more cameras than int16 can number.
    """
    table = pd.DataFrame(list(listing.entries), columns=Entry._fields)
    files = shown([content.file for content in contents])
    if not (table["split"] == "train").any():
        raise ValueError(f"{files}: no training images among {len(table):,}; nothing to train on")
    table["identity"] = table["identity"].fillna(-1).astype(np.int32)
    unknown = int(table["camera"].max()) + 1
    if unknown >= 2**15 - 1:
        raise ValueError(f"{files}: {unknown:,} cameras; at most {2**15 - 2:,}")
    table["known_camera"] = table["camera"] >= 0
    table["camera"] = table["camera"].where(table["known_camera"], unknown)
    table["image"] = [
        image_id(contents[source].raw_names[name]) for source, name in zip(table["source"], table["name"], strict=True)
    ]
    twice = table.loc[table["image"].duplicated(keep=False), "name"]
    if len(twice):
        raise ValueError(f"{files}: images of the same name (or, rarely, hash of it): {shown(twice)}; rename one")
    table = in_order(table).reset_index(drop=True)
    table["row"] = table.groupby("split").cumcount()
    return table


def _items(archives: Sequence[Path], table: pd.DataFrame, limits: Limits) -> Iterator[tuple[Slot, bytes | ValueError]]:
    """Yield each image's slot and bytes, archive by archive, in the archive's order."""
    for source, archive in enumerate(archives):
        rows = table[table["source"] == source]
        slots = dict(zip(rows["name"], zip(rows["split"], rows["row"].tolist(), strict=True), strict=True))
        for name, data in read_members(archive, slots, limits=limits):
            yield slots[name], data


def _without_bad(table: pd.DataFrame, bad: Mapping[Slot, str], folder: Path, on_bad_image: str) -> pd.DataFrame:
    """Raise one error that names every bad image, or drop their rows from the table and the arrays, with a warning."""
    slots = list(zip(table["split"], table["row"].tolist(), strict=True))
    is_bad = np.array([slot in bad for slot in slots])
    lines = [f"  {name}: {bad[slot]}" for name, slot in zip(table["name"], slots, strict=True) if slot in bad]
    message = f"{len(bad):,} of {len(table):,} images cannot be read:\n" + "\n".join(sorted(lines))
    if on_bad_image != "skip":
        raise ValueError(f"{message}\nmend the archive, or set unzip.on_bad_image to skip to leave them out")
    kept = table[~is_bad].reset_index(drop=True)
    empty = set(table["split"]) - set(kept["split"])
    if empty:
        raise ValueError(f"{message}\nno image is left in {shown(empty)}")
    warnings.warn(f"left out: {message}", stacklevel=3)
    for split in sorted(set(table.loc[is_bad, "split"])):
        drop_rows(folder / f"{split}.npy", kept.loc[kept["split"] == split, "row"])
    kept["row"] = kept.groupby("split").cumcount()
    return kept


def _metrics(table: pd.DataFrame, listing: Listing, *, bad_images: int) -> dict[str, float]:
    counts = table["split"].value_counts()
    return {
        **{f"{split}_images": float(counts.get(split, 0)) for split in SPLITS},
        "cameras": float(table.loc[table["known_camera"], "camera"].nunique()),
        "bad_images": float(bad_images),
        "junk_dropped": float(listing.junk),
        **listing.facts,
    }
