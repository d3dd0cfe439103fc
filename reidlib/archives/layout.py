"""Where the cameras of a user's own archive lie: wrapping folders, splits, cameras, tracklets; or what to ask."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from reidlib.archives.archive import Folders
from reidlib.files import listed
from reidlib.images.split import SPLITS, SplitName

_SPLITS: Folders = {split: split for split in SPLITS}
_SPLIT_WORDS = {  # in names of folders: a split, but not which of ours
    *("train", "training", "trainval", "val", "valid", "validation", "dev", "test", "testing"),
    *("query", "queries", "probe", "probes", "gallery"),
}
_PERSON = re.compile(r"(?:person|people|pedestrian|pid|id|identity|subject|individual|vehicle|animal)[\s_-]*\d+")
_FEW_IMAGES, _MANY_FOLDERS = 30, 20
_STRAY_SHARE = 0.1


class Place(NamedTuple):
    """Where an image lies; camera and tracklet are names of folders, empty where there is none."""

    name: str
    split: SplitName
    camera: str
    tracklet: str


def find_places(names: Sequence[str], *, file: str) -> tuple[str, list[Place]]:
    """Return the folder that wraps everything (with its slash, or empty), and the place of each image.

    Folders that hold everything are wrapping, as many as there are, whatever else stands beside train/, query/ and
    gallery/. Without these three, a folder that holds images directly is no wrapping folder but a camera.

    Raises:
        ValueError: images outside camera folders; splits in several places, or of other names; query without gallery or
            the reverse; a folder of which it cannot be told whether it is a camera.
    """
    bases = sorted({base for name in names if (base := _split_parent(name)) is not None})
    if len(bases) > 1:
        raise ValueError(
            f"folder: {listed(SPLITS)} lie in {len(bases)} places of {file}: {listed(bases, 5)}; expected them side by "
            "side in one place, with one folder per camera in each: query/<camera>/…"
        )
    base = bases[0] if bases else _wrapping(names)
    outside = [name for name in names if not name.startswith(base)]
    places = [_place(name, base) for name in names if name.startswith(base)]
    _check_split_names({_first(name, base) for name in names if name.startswith(base)} - {""}, bool(bases), file)
    stray = outside + [place.name for place in places if not place.camera]
    if stray:
        raise ValueError(
            f"folder: {len(stray):,} of {len(names):,} images in {file} lie in no camera's folder: {listed(stray)}; "
            f"move them into one folder per camera{f' inside {base}' if base else ''}, or out of the archive"
        )
    if not bases:
        _check_single_camera(places, file)
    splits = {place.split for place in places}
    if len(splits & {"query", "gallery"}) == 1:
        raise ValueError(f"folder: {file} has images in {listed(splits)}; query/ and gallery/ come together")
    return base, places


def question_of_people(places: Collection[Place]) -> str:
    """Return a question where camera folders look like people's, else nothing."""
    images = Counter(place.camera for place in places)
    middle = sorted(images.values())[len(images) // 2]
    named = sum(_PERSON.fullmatch(camera.lower()) is not None for camera in images)
    few = len(images) >= _MANY_FOLDERS and middle < _FEW_IMAGES
    numbers = len(images) >= _MANY_FOLDERS // 2 and middle < _FEW_IMAGES and all(map(str.isdigit, images))
    if not (few or numbers or (len(images) > 1 and named > len(images) / 2)):
        return ""
    return (
        f"folder: {len(images):,} folders with {middle:,} images each (median), such as {listed(images, 3)}, were read "
        "as that many cameras. Are they people? Then make one folder per camera and put these below it "
        "(door/person_17/1.jpg); or, where the cameras are not known, put them all below one folder and set "
        "dataset.camera_labels=false. Who is who goes into identities.csv, and only evaluation sees it"
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def _split_parent(name: str) -> str | None:
    """Return what comes before the first folder of an image that is called as a split; None where none is."""
    parts = name.split("/")[:-1]
    for number, part in enumerate(parts):
        if _folded(part) in _SPLITS:
            return "".join(f"{parent}/" for parent in parts[:number])
    return None


def _first(name: str, base: str) -> str:
    """Return the folder inside `base` that an image lies in, empty where it lies in none or in a split's."""
    folder, _, rest = name.removeprefix(base).partition("/")
    return folder if rest and _folded(folder) not in _SPLITS else ""


def _wrapping(names: Sequence[str]) -> str:
    """Return the folders that hold everything and no image themselves."""
    common = names[0].split("/")[:-1]
    for name in names:
        parts = name.split("/")[:-1]
        same = [mine == other for mine, other in zip(common, parts, strict=False)]
        common = common[: same.index(False) if False in same else len(same)]
        if len(parts) == len(common):  # its image lies there: it is a camera, or its tracklet
            common = common[:-1]
    return "".join(f"{part}/" for part in common)


def _place(name: str, base: str) -> Place:
    *parts, _ = name.removeprefix(base).split("/")
    split: SplitName = "train"
    if parts and _folded(parts[0]) in _SPLITS:
        split = _SPLITS[_folded(parts.pop(0))]
    return Place(name, split, parts[0] if parts else "", "/".join(parts[1:]))


def _check_split_names(folders: Collection[str], splits_found: bool, file: str) -> None:
    """Refuse camera folders that say a split in other words, where it is not one odd name alone."""
    said = {folder: set(re.split(r"[\W_]+|\d+", _folded(folder))) & _SPLIT_WORDS for folder in folders}
    meant = {folder: words for folder, words in said.items() if words}
    if not meant or not (splits_found or len(set.union(*meant.values())) > 1):
        return
    market = " Files named as Market-1501's are read with dataset.reader=market_names." * any(
        folder.startswith("bounding_box") for folder in meant
    )
    raise ValueError(
        f"folder: {listed(meant)} in {file} look like splits, not cameras; expected train/ (or none), query/ and "
        f"gallery/, with one folder per camera in each: rename them (what to train on: train).{market}"
    )


def _check_single_camera(places: Sequence[Place], file: str) -> None:
    """Refuse a folder that may be a camera with tracklets, or a wrapping folder with stray images in it."""
    cameras, below = {place.camera for place in places}, {place.tracklet.partition("/")[0] for place in places}
    direct = [place.name for place in places if not place.tracklet]
    if len(cameras) == 1 and len(below) > 2 and direct and len(direct) <= _STRAY_SHARE * len(places):
        [camera] = cameras
        folder = PurePosixPath(direct[0]).parent
        raise ValueError(
            f"folder: is {folder} of {file} one camera, or are its {len(below) - 1} folders the cameras? It holds "
            f"{len(direct):,} images itself ({listed(direct, 3)}), of {len(places):,}. Cameras: move these away. One "
            f"camera: put them into a folder inside {camera}"
        )
