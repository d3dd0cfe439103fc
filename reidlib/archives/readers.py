"""One function per dataset: from the names inside its archive to splits, cameras, frames and identities.

A reader sees the list of names and the text lists, never an image. To add a dataset, write such a function, name it in
`READERS`, and write conf/dataset/<name>.yaml.
"""

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents, Entry, Folders, Listing, image_names, images_in_folders, summary
from reidlib.archives.folder import folder
from reidlib.archives.market_names import market_names
from reidlib.archives.msmt17 import read_msmt17_lists
from reidlib.files import listed

Reader = Callable[[Sequence[Contents]], Listing]

MARKET_FOLDERS: Folders = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
FRAMES_PER_SECOND = {"market1501": 25.0, "dukemtmc": 60.0, "veri776": 25.0}  # names count frames
PERSONX_CAMERAS = (3, 4, 8, 10, 11, 12)

PUBLISHED: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "market1501": [(12_936, 3_368, 15_913), (12_936, 3_368, 515_913)],
    "dukemtmc": [(16_522, 2_228, 17_661)],
    "msmt17": [(32_621, 11_659, 82_161)],
    "personx": [(9_840, 5_136, 30_816)],
    "veri776": [(37_778, 1_678, 11_579)],
    "cuhk03": [(7_368, 1_400, 5_328), (7_365, 1_400, 5_332)],
}


def market1501(contents: Sequence[Contents]) -> Listing:
    """Market-1501: ``0002_c1s1_000451_03.jpg`` = identity, camera, sequence, frame, box; -1 is junk, 0 a distractor.

    `contents`: Market-1501-v15.09.15.zip, and distractors_500k.zip where it lies beside it: its images join the
    gallery with identity 0 and no known camera. Frames are those of the name: they count within a sequence, and so do
    times. A sequence is a stretch of a camera's film, not a tracklet.
    """
    listing = _named_images("market1501", contents[0], _MARKET, cameras=6)
    extra: list[Entry] = []
    for source, distractors in enumerate(contents[1:], start=1):
        names = image_names(distractors)
        if not names:
            raise ValueError(f"market1501: no images in {distractors.file}; {summary(distractors)}")
        extra += [Entry(source, name, "gallery", -1, -1, -1, 0) for name in names]
    return Listing([*listing.entries, *extra], listing.junk)


def dukemtmc(contents: Sequence[Contents]) -> Listing:
    """DukeMTMC-reID: ``0002_c1_f0044158.jpg``. Withdrawn by its authors: for those who hold it lawfully."""
    return _named_images("dukemtmc", contents[0], _DUKE, cameras=8)


def msmt17(contents: Sequence[Contents]) -> Listing:
    """MSMT17, as released (V1 or V2, with its lists) or in Market layout (``0000_c1_...``); train and val are train.

    Identities begin at 0 in MSMT17 and are raised by one, since 0 means distractor here. `facts` tells which it was:
    msmt17_version 1 or 2 (results differ: faces are masked in V2), 0 in Market layout, where it cannot be known.
    """
    if any(PurePosixPath(name).name.lower() == "list_train.txt" for name in contents[0].texts):
        return read_msmt17_lists(contents[0])
    if not any("/bounding_box_train/" in f"/{name}" for name in contents[0].names):
        raise ValueError(
            f"msmt17: neither list_train.txt (as released) nor 'bounding_box_train' (Market layout) in "
            f"{contents[0].file}; {summary(contents[0])}"
        )
    listing = _named_images("msmt17", contents[0], _MSMT17_MARKET, cameras=15, first_identity=1)
    return Listing(listing.entries, listing.junk, {"msmt17_version": 0.0})


def personx(contents: Sequence[Contents]) -> Listing:
    """PersonX: ``0001_c3s1_...``; its cameras 3 4 8 10 11 12 become 0 to 5 (archives that say 1 to 6 are accepted)."""
    listing = _named_images("personx", contents[0], _PERSONX, cameras=12)
    numbers = {entry.camera + 1 for entry in listing.entries}
    if numbers <= set(range(1, 7)):
        return listing
    if not numbers <= set(PERSONX_CAMERAS):
        raise ValueError(f"personx: cameras {listed(numbers)}; expected 1 to 6, or some of {PERSONX_CAMERAS}")
    entries = [entry._replace(camera=PERSONX_CAMERAS.index(entry.camera + 1)) for entry in listing.entries]
    return Listing(entries, listing.junk, cameras={place: str(number) for place, number in enumerate(PERSONX_CAMERAS)})


def veri776(contents: Sequence[Contents]) -> Listing:
    """VeRi-776 (vehicles): ``0001_c001_00016450_0.jpg`` in image_train, image_query, image_test."""
    folders: Folders = {"image_train": "train", "image_query": "query", "image_test": "gallery"}
    return _named_images("veri776", contents[0], _VERI, folders=folders, cameras=20)


def cuhk03(contents: Sequence[Contents]) -> Listing:
    """CUHK03 by the new protocol, labelled or detected: ``0001_c1_1.png``; an archive with both is refused."""
    both = {
        part for name in contents[0].names for part in name.split("/") if part in ("labeled", "labelled", "detected")
    }
    if len(both) > 1:
        raise ValueError(
            f"cuhk03: {contents[0].file} holds both {listed(both)}; "
            "set dataset.reader to cuhk03_labelled or cuhk03_detected"
        )
    return _named_images("cuhk03", contents[0], _CUHK03, cameras=2)


def cuhk03_labelled(contents: Sequence[Contents]) -> Listing:
    """CUHK03 (new protocol), the hand-drawn boxes of an archive that holds both kinds."""
    return cuhk03([_part_inside("cuhk03_labelled", contents[0], {"labeled", "labelled"})])


def cuhk03_detected(contents: Sequence[Contents]) -> Listing:
    """CUHK03 (new protocol), the detector's boxes of an archive that holds both kinds."""
    return cuhk03([_part_inside("cuhk03_detected", contents[0], {"detected"})])


def synthetic(contents: Sequence[Contents]) -> Listing:
    """The project's own synthetic pedestrians: Market-1501's layout and names, any number of cameras.

    A camera has one sequence, whose frames are ticks of no known length.
    """
    return _named_images("synthetic", contents[0], _SYNTHETIC)


READERS: Mapping[str, Reader] = {
    reader.__name__: reader
    for reader in (
        *(market1501, dukemtmc, msmt17, personx, veri776),
        *(cuhk03, cuhk03_labelled, cuhk03_detected, folder, market_names, synthetic),
    )
}

_IDENTITY_CAMERA = r"(?P<identity>-1|\d{1,9})_c(?P<camera>\d{1,4})"
_MARKET = (re.compile(_IDENTITY_CAMERA + r"s(?P<sequence>\d{1,9})_(?P<frame>\d{1,9})_\d+"), "0002_c1s1_000451_03.jpg")
_SYNTHETIC = (re.compile(_IDENTITY_CAMERA + r"s\d+_(?P<frame>\d{1,9})_\d+"), "0002_c1s1_000451_03.jpg")
_DUKE = (re.compile(_IDENTITY_CAMERA + r"_f(?P<frame>\d{1,9})"), "0002_c1_f0044158.jpg")
_PERSONX = (re.compile(_IDENTITY_CAMERA + r"s\d+_.+"), "0001_c3s1_01.jpg")
_VERI = (re.compile(_IDENTITY_CAMERA + r"_(?P<frame>\d{1,9})_\d+"), "0001_c001_00016450_0.jpg")
_CUHK03 = (re.compile(_IDENTITY_CAMERA + r"_\d+"), "0001_c1_1.png")
_MSMT17_MARKET = (re.compile(_IDENTITY_CAMERA + r"_.+"), "0000_c1_0.jpg")


def warn_of_unusual_counts(reader: str, listing: Listing) -> None:
    """Warn, with both numbers, where a well-known dataset's images are not as many as published; then go on."""
    count = Counter(entry.split for entry in listing.entries)
    images = (count["train"], count["query"], count["gallery"])
    published = PUBLISHED.get(reader.partition("_")[0], [])
    if published and images not in published:
        counts, *expected = [" / ".join(f"{number:,}" for number in numbers) for numbers in (images, *published)]
        warnings.warn(
            f"{reader}: {counts} images in train / query / gallery; published: {' or '.join(expected)}. "
            "Is the archive complete?",
            stacklevel=2,
        )


def _named_images(
    dataset: str,
    contents: Contents,
    naming: tuple[re.Pattern[str], str],
    *,
    folders: Folders = MARKET_FOLDERS,
    cameras: int = 9999,
    first_identity: int = 0,
) -> Listing:
    """Read images whose names spell identity and camera; identity -1 (junk) is counted and left out.

    None has a tracklet: what a dataset calls one is of an identity, which no label may know of.

    Raises:
        ValueError: A folder is missing; names are not like the dataset's; a camera is not within 1..`cameras`.
    """
    pattern, example = naming
    rate = FRAMES_PER_SECOND.get(dataset, math.nan)
    entries: list[Entry] = []
    strange: list[str] = []
    junk = 0
    for name, stem, split in images_in_folders(dataset, contents, folders):
        match = pattern.fullmatch(stem)
        if match is None or not 1 <= int(match["camera"]) <= cameras:
            strange.append(name)
        elif match["identity"] == "-1":
            junk += 1
        else:
            frame, sequence = (int(match.groupdict().get(group, -1)) for group in ("frame", "sequence"))
            identity, time = int(match["identity"]) + first_identity, frame / rate if frame >= 0 else math.nan
            entries.append(Entry(0, name, split, int(match["camera"]) - 1, -1, frame, identity, sequence, time))
    if strange:
        range_text = f" with a camera from 1 to {cameras}" if cameras < 9999 else ""
        raise ValueError(
            f"{dataset}: {len(strange):,} names in {contents.file} are not like '{example}'{range_text}: "
            f"{listed(strange)}; is it another dataset?"
        )
    return Listing(entries, junk)


def _part_inside(dataset: str, contents: Contents, folders: set[str]) -> Contents:
    """Return the part of an archive that lies inside one of `folders`."""
    names = tuple(name for name in contents.names if folders & set(name.split("/")[:-1]))
    if not names:
        raise ValueError(f"{dataset}: no folder {listed(folders)} in {contents.file}; {summary(contents)}")
    return Contents(contents.file, names, contents.texts, contents.raw_names, contents.pictures)
