"""A user's own crops: one folder per camera, anything below it.

::

    entrance/person_17/0001.jpg      camera "entrance", tracklet "person_17", frame 1
    entrance/lone.jpg                a camera's folder may hold images directly: no tracklet
    yard/...                         the next camera
    query/entrance/..., gallery/...  optional: what to evaluate with; then the rest (or train/...) is what to train on
    identities.csv                   optional: path,identity; only evaluation sees it
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from reidlib.archives.archive import Contents, Entry, Folders, Listing, image_names, summary
from reidlib.files import listed
from reidlib.images.split import SPLITS, SplitName

_SPLITS: Folders = {split: split for split in SPLITS}
_LARGEST = 2**31 - 1


class _Place(NamedTuple):
    name: str
    split: SplitName
    camera: str
    tracklet: str


def folder(archives: Sequence[Contents]) -> Listing:
    """A user's own crops: a folder is a camera, a folder inside it a tracklet, both numbered by sorted name.

    One folder that holds everything, with only folders below it, is a top folder and not a camera. Images are train
    unless they lie in query/ or gallery/, which come together. The same camera name in two splits is one camera; a
    tracklet is one within its split. The frame is the number that the file's name ends in.

    Raises:
        ValueError: No images; images outside the camera folders; query without gallery or the reverse; an
            identities.csv that cannot be read, names images that are not there, or leaves out some to evaluate with.
    """
    contents = archives[0]
    names = image_names(contents)
    if not names:
        raise ValueError(f"folder: no images in {contents.file}; {summary(contents)}")
    top = _top_folder(contents, names)
    places = [_place(name, top) for name in names]
    stray = [place.name for place in places if not place.camera]
    if stray:
        raise ValueError(
            f"folder: {len(stray):,} images in {contents.file} lie in no camera's folder: {listed(stray)}; "
            "make one folder per camera and put its images there"
        )
    splits = {place.split for place in places}
    if len(splits & {"query", "gallery"}) == 1:
        raise ValueError(f"folder: {contents.file} has images in {listed(splits)}; query/ and gallery/ come together")
    identities = _identities(contents, top, names)
    unknown = [place.name for place in places if identities and place.split != "train" and place.name not in identities]
    if unknown:
        raise ValueError(
            f"folder: identities.csv of {contents.file} leaves out {len(unknown):,} images of query and gallery: "
            f"{listed(unknown)}; give each of them an identity"
        )
    return Listing(_entries(places, identities))


def _top_folder(contents: Contents, names: Sequence[str]) -> str:
    """Return the prefix, slash included, of the one folder that holds everything; empty where there is none."""
    first = {name.partition("/")[0] for name in [*names, *contents.texts]}
    top = next(iter(first))
    if len(first) > 1 or top.lower() in _SPLITS or any(name.count("/") < 2 for name in names):
        return ""
    return f"{top}/"


def _place(name: str, top: str) -> _Place:
    """Return where an image lies; no camera where it lies in no camera's folder."""
    *parts, _ = name.removeprefix(top).split("/")
    split: SplitName = "train"
    if parts and parts[0].lower() in _SPLITS:
        split = _SPLITS[parts.pop(0).lower()]
    return _Place(name, split, parts[0] if parts else "", "/".join(parts[1:]))


def _entries(places: Sequence[_Place], identities: Mapping[str, int]) -> list[Entry]:
    cameras = {camera: number for number, camera in enumerate(sorted({place.camera for place in places}))}
    keys = sorted({place[1:] for place in places if place.tracklet})
    tracklets = {key: number for number, key in enumerate(keys)}
    return [
        Entry(
            source=0,
            name=place.name,
            split=place.split,
            camera=cameras[place.camera],
            tracklet=tracklets.get(place[1:], -1),
            frame=_frame(place.name),
            identity=identities.get(place.name),
        )
        for place in places
    ]


def _frame(name: str) -> int:
    """Return the number that the name ends in, -1 where there is none or it does not fit in 31 bits."""
    stem = PurePosixPath(name).stem
    digits = stem[len(stem.rstrip("0123456789")) :].lstrip("0") or stem[-1:]
    return int(digits) if re.fullmatch(r"[0-9]{1,10}", digits) and int(digits) <= _LARGEST else -1


def _identities(contents: Contents, top: str, names: Sequence[str]) -> dict[str, int]:
    """Return the identity of each image that identities.csv names; empty where there is no such file.

    Whole numbers are kept (0 = distractor); other words are numbered from 1 by sorted name.
    """
    files = [name for name in contents.texts if name.removeprefix(top).lower() == "identities.csv"]
    if not files:
        return {}
    if len(files) > 1:
        raise ValueError(f"folder: {listed(files)} in {contents.file}: keep one")
    where = f"folder: {files[0]} of {contents.file}"
    rows = _rows(contents.texts[files[0]], where)
    known = set(names)
    identities: dict[str, str] = {}
    unknown: list[str] = []
    for path, identity in rows:
        name = path if path in known else f"{top}{path}"
        if name not in known:
            unknown.append(path)
        elif identities.setdefault(name, identity) != identity:
            raise ValueError(f"{where}: {path!r} has two identities, {identities[name]!r} and {identity!r}")
    if unknown:
        raise ValueError(f"{where}: {len(unknown):,} of {len(rows):,} paths are not in the archive: {listed(unknown)}")
    if all(re.fullmatch(r"[0-9]{1,10}", identity) and int(identity) <= _LARGEST for identity in identities.values()):
        return {name: int(identity) for name, identity in identities.items()}
    numbers = {word: number for number, word in enumerate(sorted(set(identities.values())), start=1)}
    return {name: numbers[word] for name, word in identities.items()}


def _rows(text: str, where: str) -> list[tuple[str, str]]:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{where}: not a CSV table ({error})") from error
    if [cell.strip().lower() for cell in header] != ["path", "identity"]:
        raise ValueError(f"{where}: the first line is {','.join(header)[:80]!r}; expected 'path,identity'")
    for number, row in enumerate(rows, start=2):
        if len(row) != 2 or not row[0].strip() or not row[1].strip():
            raise ValueError(f"{where}: row {number} is {','.join(row)[:80]!r}; expected a path and an identity")
    return [(re.sub(r"^(\./)+", "", path.strip().replace("\\", "/")), identity.strip()) for path, identity in rows]
