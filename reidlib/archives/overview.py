"""What was read of an archive, as a table that a person checks before anything is trained on it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pandas as pd

from reidlib.archives.archive import Contents, Listing, image_names
from reidlib.files import listed
from reidlib.images.split import SPLITS

MOST_CAMERAS = 100  # shown; the rest are added up


def overview(table: pd.DataFrame, listing: Listing, contents: Sequence[Contents]) -> str:
    """Return a line per camera (images of each split, tracklets, images of known identity), then what was left out."""
    known = int((table["identity"] > 0).sum())
    people = table.loc[table["identity"] > 0, "identity"].nunique()
    cameras = table.loc[table["known_camera"], "camera"].nunique()
    files = listed([content.file for content in contents])
    head = f"{files}: {len(table):,} images, {cameras:,} cameras, {people:,} people in {known:,} images"
    rows = pd.DataFrame([_row(part) for _, part in table.groupby("camera")])
    shown, rest = rows[:MOST_CAMERAS], rows[MOST_CAMERAS:]
    if len(rest):
        shown = pd.concat([shown, rest.drop(columns="camera").sum().to_frame().T.assign(camera=f"{len(rest):,} more")])
    notes = [*listing.notes, *_left_out(table, listing, contents)]
    return "\n".join([head, shown.to_string(index=False), *(f"  - {note}" for note in notes)])


def by_folder(names: Iterable[str], most: int = 5) -> str:
    """Return how many of these files lie in each folder, the fullest first: ``door 12, yard 3 and 4 more in 2 others``.

    >>> by_folder(["door/1.avif", "door/2.avif", "3.avif"])
    'door 2, . 1'
    """
    counts = Counter(str(PurePosixPath(name).parent) for name in names)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{folder} {count:,}" for folder, count in ordered[:most])
    rest = ordered[most:]
    return told + (f" and {sum(count for _, count in rest):,} more in {len(rest):,} others" if rest else "")


def _row(part: pd.DataFrame) -> dict[str, str | int]:
    images = {str(split): int((part["split"] == split).sum()) for split in SPLITS}
    tracklets = part.loc[part["tracklet"] >= 0, "tracklet"].nunique()
    return {
        "camera": part["camera_name"].iloc[0],
        **images,
        "tracklets": tracklets,
        "identified": int((part["identity"] > 0).sum()),
    }


def _left_out(table: pd.DataFrame, listing: Listing, contents: Sequence[Contents]) -> list[str]:
    """Return a line for each reason why files of the archives are not among the images."""
    told = []
    for source, content in enumerate(contents):
        used = set(table.loc[table["source"] == source, "name"])
        pictures = [name for name in image_names(content) if name not in used]
        others = set(content.names) - set(image_names(content)) - set(content.texts)
        endings = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in others)
        kinds = ", ".join(
            f"{ending} {count:,}" for ending, count in sorted(endings.items(), key=lambda one: -one[1])[:5]
        )
        if pictures:
            why = f"of which {listing.junk:,} are junk by their names" if listing.junk else "this dataset does not use"
            told.append(f"left out, pictures {why}: {by_folder(pictures)}")
        if others:
            told.append(f"left out, no pictures ({kinds}): {by_folder(others)}")
    return told
