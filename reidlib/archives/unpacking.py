"""From the raw archive to packed images of each split and the identities apart: the whole of the stage ``unzip``."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

import pandas as pd

from reidlib.archives.archive import ARCHIVE_ENDINGS, LIMITS, Listing, list_archive, read_members
from reidlib.archives.decode import READ, Interpolation
from reidlib.archives.members import Limits
from reidlib.archives.overview import by_folder, overview
from reidlib.archives.packing import Slot, drop_rows, pack
from reidlib.archives.readers import READERS, warn_of_unusual_counts
from reidlib.archives.table import check_matches, image_table
from reidlib.files import atomic_file, atomic_folder, listed
from reidlib.images.identities import write_identities
from reidlib.images.names import write_names
from reidlib.images.split import PIXELS_FILE, SPLITS, write_rows
from reidlib.settings import Count, Positive

MOST_LEFT_OUT = 0.5  # of the images; where more cannot be read it is the archive that is wrong, not some images


def unpack(
    raw: Path,
    images: Path,
    identities: Path,
    names: Path,
    *,
    reader: str,
    height_px: Count,
    width_px: Count,
    on_bad_image: Literal["error", "skip"],
    max_megapixels: Positive,
    workers: Count,
    max_unpacked_gib: Positive = LIMITS.total_bytes / 2**30,
    max_unpacking_ratio: Positive = LIMITS.ratio,
    interpolation: Interpolation = "bilinear",
) -> dict[str, float]:
    """Write a folder for each split, identities and names of the one archive in `raw`; bad input leaves nothing behind.

    What was read is printed as a table of the cameras, before an image is decoded.

    The result depends on the archive's content and the parameters alone: not on its members' order, nor on `workers`.
    Rows are ordered by image id, a hash of the file's name, so that no order tells an identity.

    Args:
        raw: The folder that holds the archive as downloaded (market1501: distractors_500k.zip may lie beside it).
        images: The folder of the splits' folders train, query and gallery, which are all written.
        identities: The parquet to write; zero rows where the dataset has no identities.
        names: The parquet to write what images, cameras and tracklets are called in.
        reader: Which of `READERS` understands the archive.
        height_px: Height of the packed images.
        width_px: Their width.
        on_bad_image: Unreadable images are one error that names them all, or left out, counted and warned of.
        max_megapixels: Images larger than this by their header are bad ones.
        workers: Threads that decode.
        max_unpacked_gib: An archive that unpacks to more is refused as a zip bomb.
        max_unpacking_ratio: Likewise, in multiples of its size.
        interpolation: How images are resized, downwards with antialiasing.

    Returns:
        Counts of images by split, known cameras, bad images and dropped junk, and the reader's facts (msmt17_version).

    Raises:
        ValueError: No such reader; no archive, two, a damaged one, another dataset's, a hostile one, unreadable images.
    """
    if reader not in READERS:
        raise ValueError(f"dataset.reader: expected one of {listed(READERS, len(READERS))}; found {reader!r}")
    limits = Limits(total_bytes=int(max_unpacked_gib * 2**30), ratio=max_unpacking_ratio)
    archives = find_archives(raw, reader=reader)
    contents = [list_archive(archive, limits=limits) for archive in archives]
    listing = READERS[reader](contents)
    warn_of_unusual_counts(reader, listing)
    table = image_table(listing, contents)
    check_matches(table)
    print(overview(table, listing, contents))
    with _artifacts(images, identities, names) as (folders, identities_file, names_file):
        arrays = {split: folder / PIXELS_FILE for split, folder in folders.items()}
        bad = pack(
            _items(archives, table, limits),
            arrays,
            rows={split: int((table["split"] == split).sum()) for split in SPLITS},
            size_px=(height_px, width_px),
            max_megapixels=max_megapixels,
            workers=workers,
            interpolation=interpolation,
        )
        kept = _drop_bad(table, bad, arrays, on_bad_image) if bad else table
        for split, folder in folders.items():
            write_rows(folder, kept[kept["split"] == split])
        write_identities(identities_file, kept[kept["identity"] >= 0])
        called = kept[["image", "name", "camera_name", "tracklet_name"]]
        write_names(names_file, called.set_axis(["image", "path", "camera", "tracklet"], axis="columns"))
    return _metrics(kept, listing, bad_images=len(bad))


def find_archives(raw: Path, *, reader: str) -> list[Path]:
    """Return the one archive in the folder `raw`; for market1501 the distractors' archive, if there, comes second.

    Raises:
        ValueError: There is none, or more than one.
        FileNotFoundError: There is no such folder.
    """
    if not raw.is_dir():
        raise FileNotFoundError(f"{raw}: no such folder; make it and put the dataset's archive there as downloaded")
    paths = [path for path in raw.iterdir() if not path.name.startswith(".")]
    archives = [path for path in paths if path.is_file() and path.name.lower().endswith(ARCHIVE_ENDINGS)]
    extra = [path for path in archives if reader == "market1501" and path.name.startswith("distractors_500k")]
    main = [path for path in archives if path not in extra]
    if not main:
        raise ValueError(
            f"{raw}: no archive ({', '.join(ARCHIVE_ENDINGS)}) for {reader}; found: {listed({p.name for p in paths})}; "
            "put the dataset's archive there as downloaded, not unpacked"
        )
    if len(main) > 1 or len(extra) > 1:
        raise ValueError(
            f"{raw}: {len(archives)} archives, expected one: {listed({p.name for p in archives})}; "
            "leave the dataset's own there and move the others away"
        )
    return main + extra


@contextmanager
def _artifacts(images: Path, identities: Path, names: Path) -> Iterator[tuple[dict[str, Path], Path, Path]]:
    """Yield the splits' folders, the files of identities and names to fill; they appear at the end, or none of them."""
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(atomic_file(path)) for path in (identities, names)]
            yield {split: stack.enter_context(atomic_folder(images / split)) for split in SPLITS}, files[0], files[1]
    except BaseException:
        with suppress(OSError):  # where there was something in it before
            images.rmdir()
        raise


def _items(archives: Sequence[Path], table: pd.DataFrame, limits: Limits) -> Iterator[tuple[Slot, bytes | ValueError]]:
    """Yield each image's slot and bytes, archive by archive, in the archive's order."""
    for source, archive in enumerate(archives):
        rows = table[table["source"] == source]
        slots = dict(zip(rows["name"], zip(rows["split"], rows["row"].tolist(), strict=True), strict=True))
        for name, data in read_members(archive, slots, limits=limits):
            yield slots[name], data


def _drop_bad(
    table: pd.DataFrame, bad: Mapping[Slot, str], arrays: Mapping[str, Path], on_bad_image: str
) -> pd.DataFrame:
    """Raise one error that names every bad image, or drop their rows from the table and the arrays, with a warning."""
    problems = pd.Series([bad.get(slot) for slot in zip(table["split"], table["row"], strict=True)])
    is_bad = problems.notna()
    lines = "  " + table.loc[is_bad, "name"] + ": " + problems[is_bad]
    where = by_folder(table.loc[is_bad, "name"])
    message = f"{len(bad):,} of {len(table):,} images cannot be read ({where}):\n" + "\n".join(sorted(lines))
    mend = f"mend the archive ({', '.join(READ)} are read)"
    if on_bad_image != "skip":
        raise ValueError(f"{message}\n{mend}, or set unzip.on_bad_image to skip to leave them out")
    kept = table[~is_bad].reset_index(drop=True)
    for name, lost in (("", set(table["split"]) - set(kept["split"])),
                       ("camera ", set(table["camera_name"]) - set(kept["camera_name"]))):  # fmt: skip
        if lost:
            raise ValueError(f"{message}\nno image is left in {name}{listed(lost)}; {mend}")
    if len(bad) > MOST_LEFT_OUT * len(table):
        raise ValueError(f"{message}\nthat is over {100 * MOST_LEFT_OUT:g} %, too many to leave out; {mend}")
    warnings.warn(f"left out: {message}", stacklevel=3)
    for split in set(table.loc[is_bad, "split"]):
        drop_rows(arrays[split], kept.loc[kept["split"] == split, "row"])
    kept["row"] = kept.groupby("split", observed=True).cumcount()
    return kept


def _metrics(table: pd.DataFrame, listing: Listing, *, bad_images: int) -> dict[str, float]:
    return {
        **{f"{split}_images": float((table["split"] == split).sum()) for split in SPLITS},
        "cameras": float(table.loc[table["known_camera"], "camera"].nunique()),
        "bad_images": float(bad_images),
        "junk_dropped": float(listing.junk),
        **listing.facts,
    }
