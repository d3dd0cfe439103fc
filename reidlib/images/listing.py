"""What a reader finds in an archive: one entry per image, and the words for what it did not find."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from reidlib.images.archive import Contents, shown

__all__ = ["Entry", "Listing", "Split", "found_in", "image_names", "images_in_folders"]

Split = Literal["train", "query", "gallery"]
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".ppm")


class Entry(NamedTuple):
    """One image.

    `source` counts the archives, `camera` is 0-based (-1: unknown), `tracklet` and `frame` are -1 where there is none,
    `identity` is 0 for a distractor and None where no identity is known.
    """

    source: int
    name: str
    split: Split
    camera: int
    tracklet: int
    frame: int
    identity: int | None


@dataclass(frozen=True)
class Listing:
    """All images of a dataset; `junk` counts those left out because their names say junk; `facts` go to the metrics."""

    entries: Sequence[Entry]
    junk: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)


def image_names(contents: Contents) -> list[str]:
    """Return the names that end like an image's; whether it is a JPEG or PNG its content tells later."""
    return [name for name in contents.names if name.lower().endswith(_IMAGE_ENDINGS)]


def images_in_folders(dataset: str, contents: Contents, folders: Mapping[str, Split]) -> list[tuple[str, str, Split]]:
    """Return (name, stem, split) of the images that lie directly in `folders`, wherever in the archive these are.

    Raises:
        ValueError: One of `folders` holds no image, or there are two of that name; what was found is listed.
    """
    parents: dict[str, set[str]] = {folder: set() for folder in folders}
    images: list[tuple[str, str, Split]] = []
    for name in image_names(contents):
        place, _, file = name.rpartition("/")
        folder = place.rpartition("/")[2]
        if folder in parents:
            parents[folder].add(place)
            images.append((name, file.rpartition(".")[0], folders[folder]))
    for folder, places in parents.items():
        if not places:
            raise ValueError(f"{dataset}: no images in '{folder}' in {contents.file}; {found_in(contents)}")
        if len(places) > 1:
            raise ValueError(f"{dataset}: '{folder}' is in {contents.file} more than once: {shown(places)}; keep one")
    return images


def found_in(contents: Contents) -> str:
    """Return "found: ..." with the folders of an archive and how many images each holds, for a message."""
    if not contents.names:
        return "found: nothing (the archive is empty)"
    images = Counter(str(PurePosixPath(name).parent) for name in image_names(contents))
    if not images:
        return f"found: no images, but {shown(contents.names, 5)}"
    most = [f"{folder} ({count:,} images)" for folder, count in sorted(images.items())]
    return f"found: {shown(most)}"
