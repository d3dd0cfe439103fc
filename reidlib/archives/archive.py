"""Archives as downloaded: the names inside a .zip, .tar.gz or .tar, the bytes behind them, what a reader finds there.

Nothing is ever extracted to the disk. An archive comes from a stranger: whatever would lead out of it (absolute paths,
``..``, links), name two things alike or unpack to far more than it should is refused by name before any image is read.
"""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from reidlib.archives.decode import picture_kind
from reidlib.archives.members import PICTURE_ENDINGS, Limits, Member, archive_kind, tar_members, zip_members
from reidlib.files import listed
from reidlib.images.split import SplitName

Folders = Mapping[str, SplitName]  # names of folders in an archive, and the split whose images lie there
ARCHIVE_ENDINGS = (".zip", ".tar.gz", ".tgz", ".tar")
LIMITS = Limits()
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error),
    *(EOFError, OverflowError, NotImplementedError, RuntimeError),  # the last: a password that only one header wants
)


@dataclass(frozen=True)
class Contents:
    """What an archive holds, litter left out.

    `names` is sorted, with ``/`` between folders and no leading ``./``; `raw_names` gives each name's bytes as stored
    (image ids are made of them); `texts` holds the lists that readers need (MSMT17's lists, identities.csv);
    `pictures` are the files that do not end like a picture, but begin like one.
    """

    file: str
    names: tuple[str, ...]
    texts: Mapping[str, str]
    raw_names: Mapping[str, bytes]
    pictures: Collection[str] = ()


class Entry(NamedTuple):
    """One image.

    `source` counts the archives, `camera` is 0-based (-1: unknown), `tracklet` and `frame` are -1 where there is none,
    `identity` is 0 for a distractor and None where no identity is known. `sequence` and `time_seconds` are as
    `reidlib.images.split.Split` has them, -1 and NaN where unknown.
    """

    source: int
    name: str
    split: SplitName
    camera: int
    tracklet: int
    frame: int
    identity: int | None
    sequence: int = -1
    time_seconds: float = float("nan")


@dataclass(frozen=True)
class Listing:
    """All images of a dataset.

    `junk` counts those left out because their names say junk; `facts` go to the metrics; `cameras` and
    `tracklets` are their names by number (cameras without one are called by their number, from 1); `notes` are lines
    for the person who waits.
    """

    entries: Sequence[Entry]
    junk: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    cameras: Mapping[int, str] = field(default_factory=dict)
    tracklets: Mapping[int, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def list_archive(path: Path, *, limits: Limits = LIMITS) -> Contents:
    """Return the names inside the archive at `path`, with the text lists among them.

    Told by content, not by ending. Folders, hidden files and litter (``__MACOSX``, ``Thumbs.db``, ...) are left out.

    Raises:
        ValueError: No archive, truncated or damaged; a path that leads out, a link, a name twice or with control
            characters; an encrypted or oddly compressed file; more than `limits` allow. The message names the file.
    """
    raw_names: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    pictures: set[str] = set()
    for member, data in _members(path, limits):
        if member.name in raw_names:
            raise ValueError(f"{path.name}: {member.name!r} is in it twice; make an archive with each name once")
        raw_names[member.name] = member.raw
        if picture_kind(member.start):
            pictures.add(member.name)
        if data is not None:
            texts[member.name] = _text(data, f"{path.name}: {member.name}")
    return Contents(path.name, tuple(sorted(raw_names)), texts, raw_names, frozenset(pictures))


def read_members(
    path: Path, names: Collection[str], *, limits: Limits = LIMITS
) -> Iterator[tuple[str, bytes | ValueError]]:
    """Yield each of `names` (as `list_archive` gave them) with its bytes, in the archive's order.

    A file whose bytes are damaged (zip: its checksum fails) comes with a ValueError that says so in their place.

    Raises:
        ValueError: As `list_archive`; also where one of `names` is not in the archive.
    """
    wanted = set(names)
    for member, data in _members(path, limits, wanted):
        if member.name in wanted and data is not None:
            wanted.discard(member.name)
            yield member.name, data
    if wanted:
        raise ValueError(f"{path.name}: not in it (did the file change while it was read?): {listed(wanted)}")


def image_names(contents: Contents) -> list[str]:
    """Return the names that end like a picture's, and those of other files that begin like one."""
    return [name for name in contents.names if name.lower().endswith(PICTURE_ENDINGS) or name in contents.pictures]


def images_in_folders(dataset: str, contents: Contents, folders: Folders) -> list[tuple[str, str, SplitName]]:
    """Return (name, stem, split) of the images that lie directly in `folders`, wherever in the archive these are.

    Raises:
        ValueError: One of `folders` holds no image, or there are two of that name; what was found is listed.
    """
    parents: dict[str, set[str]] = {folder: set() for folder in folders}
    images: list[tuple[str, str, SplitName]] = []
    for name in image_names(contents):
        place, _, file = name.rpartition("/")
        folder = place.rpartition("/")[2]
        if folder in parents:
            parents[folder].add(place)
            images.append((name, PurePosixPath(file).stem, folders[folder]))
    for folder, places in parents.items():
        if not places:
            raise ValueError(f"{dataset}: no images in '{folder}' in {contents.file}; {summary(contents)}")
        if len(places) > 1:
            raise ValueError(f"{dataset}: '{folder}' is in {contents.file} more than once: {listed(places)}; keep one")
    return images


def summary(contents: Contents) -> str:
    """Return "found: ..." with the folders of an archive and how many images each holds, for a message."""
    if not contents.names:
        return "found: nothing (the archive is empty)"
    images = Counter(str(PurePosixPath(name).parent) for name in image_names(contents))
    if not images:
        return f"found: no images, but {listed(contents.names, 5)}"
    most = [f"{folder} ({count:,} images)" for folder, count in sorted(images.items())]
    return f"found: {listed(most)}"


def _members(
    path: Path, limits: Limits, wanted: Collection[str] = ()
) -> Iterator[tuple[Member, bytes | ValueError | None]]:
    """Yield the files inside; what zipfile, tarfile and gzip raise on a broken archive becomes one ValueError."""
    members = zip_members if archive_kind(path) == "zip" else tar_members
    try:
        yield from members(path, limits, wanted)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name}: a file name said to be UTF-8 is not ({error}); make the archive anew"
        ) from error
    except (*_DAMAGE, ValueError) as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{path.name}: "):
            raise  # ours
        raise ValueError(f"{path.name}: truncated or damaged ({error}); download it again") from error


def _text(data: bytes | ValueError, where: str) -> str:
    if isinstance(data, ValueError):
        raise ValueError(f"{where}: {data}") from data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 text ({error}); save it as UTF-8") from error
