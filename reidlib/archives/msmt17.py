"""MSMT17 as released: folders of images and lists that say which image is whose.

``0000_000_01_0303morning_0008_0.jpg``: the third field is the camera, the fourth the sequence (a part of a day), the
fifth the frame in it; at what rate, nobody has published, so that no time is known. The lists' lines read
``0000/0000_000_01_0303morning_0008_0.jpg 0``.
"""

import re
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents, Entry, Folders, Listing, image_names, summary
from reidlib.files import listed
from reidlib.images.split import SplitName

_NAME = re.compile(r"\d+_\d+_(?P<camera>\d{1,2})(?:_(?P<when>[^_]+)_(?P<frame>\d{1,9})(?:_.*)?)?")
_LISTS: Folders = {
    "list_train.txt": "train",
    "list_val.txt": "train",
    "list_query.txt": "query",
    "list_gallery.txt": "gallery",
}
_FOLDERS = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}
_CAMERAS = 15
_WHEN = re.compile(r"(?P<day>\d{4})(?P<part>morning|noon|afternoon)")
_PARTS = ("morning", "noon", "afternoon")


def read_msmt17_lists(contents: Contents) -> Listing:
    """Return the images that the four lists name; `facts` tells V1 from V2 (folders mask_train_v2, mask_test_v2).

    Identities are the lists' numbers plus one (0 means distractor here); those of query and gallery follow on those
    of train and val, since both count from 0 and mean other people.

    Raises:
        ValueError: A list or a folder is missing, a line cannot be read, or a list names images that are not there.
    """
    lists = {PurePosixPath(name).name.lower(): name for name in contents.texts}
    if len(lists) < len(contents.texts):
        raise ValueError(f"msmt17: a list is in {contents.file} more than once: {listed(contents.texts)}; keep one")
    missing = _LISTS.keys() - lists
    if missing:
        raise ValueError(f"msmt17: no {listed(missing)} in {contents.file}; {summary(contents)}")
    prefix = lists["list_train.txt"][: -len("list_train.txt")]
    version = _version(contents, prefix)
    names = set(image_names(contents))
    entries: list[Entry] = []
    absent: list[str] = []
    for file, split in _LISTS.items():
        folder = _FOLDERS[version][0 if split == "train" else 1]
        before = 0 if split == "train" else max((e.identity or 0 for e in entries if e.split == "train"), default=0)
        for path, identity in _lines(contents, lists[file]):
            name = f"{prefix}{folder}/{path}"
            if name in names:
                entries.append(_entry(name, split, before + identity + 1))
            else:
                absent.append(name)
    if absent:
        raise ValueError(
            f"msmt17: {len(absent):,} images named by the lists are not in {contents.file}: {listed(absent)}"
        )
    twice = len(entries) - len({entry.name for entry in entries})
    if twice:
        raise ValueError(f"msmt17: the lists of {contents.file} name {twice:,} images twice")
    return Listing(entries, facts={"msmt17_version": float(version)})


def _version(contents: Contents, prefix: str) -> int:
    folders = {name.removeprefix(prefix).partition("/")[0] for name in contents.names if name.startswith(prefix)}
    versions = [version for version, pair in _FOLDERS.items() if folders.issuperset(pair)]
    if len(versions) != 1:
        raise ValueError(
            f"msmt17: expected the folders {_FOLDERS[1]} (V1) or {_FOLDERS[2]} (V2) beside the lists in "
            f"{contents.file}, not {'both' if versions else 'neither'}; {summary(contents)}"
        )
    return versions[0]


def _lines(contents: Contents, name: str) -> list[tuple[str, int]]:
    lines: list[tuple[str, int]] = []
    for number, line in enumerate(contents.texts[name].splitlines(), start=1):
        if not line.strip():
            continue
        path, *rest = line.strip().rsplit(maxsplit=1)
        if not rest or not re.fullmatch(r"[0-9]{1,9}", rest[0]):
            raise ValueError(f"msmt17: {contents.file}: {name} line {number}: {line[:80]!r}; expected 'path identity'")
        lines.append((path.removeprefix("./"), int(rest[0])))
    return lines


def _entry(name: str, split: SplitName, identity: int) -> Entry:
    match = _NAME.fullmatch(PurePosixPath(name).stem)
    if match is None or not 1 <= int(match["camera"]) <= _CAMERAS:
        raise ValueError(
            f"msmt17: {name!r} is not like '0000_000_01_0303morning_0008_0.jpg' with a camera from 1 to {_CAMERAS}"
        )
    frame, when = int(match["frame"] or -1), _WHEN.fullmatch(match["when"] or "")
    sequence = 10 * int(when["day"]) + _PARTS.index(when["part"]) if when else -1
    return Entry(0, name, split, int(match["camera"]) - 1, -1, frame, identity, sequence)
