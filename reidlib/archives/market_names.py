"""A user's own crops in Market-1501's folders and names, from any cameras."""

import re
from collections.abc import Sequence

from reidlib.archives.archive import Contents, Entry, Folders, Listing, images_in_folders
from reidlib.files import listed
from reidlib.images.split import SplitName

_FOLDERS: Folders = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
_NAME = re.compile(
    r"(?P<identity>-1|\d{1,9})_c(?P<camera>\d{1,4})(?:s(?P<sequence>\d{1,9})_(?P<frame>\d{1,9})_\d+|[^0-9].*)?"
)


def market_names(archives: Sequence[Contents]) -> Listing:
    """A user's own crops called as in Market-1501 (``0002_c1s1_000451_03.jpg``), any number of cameras, from 0 or 1.

    What follows the camera may be anything; sequence and frame are known where it is as in Market-1501, the time is not
    (at what rate?). Without query and bounding_box_test all images are train. Identity -1 is junk and left out, 0 a
    distractor.

    Raises:
        ValueError: A folder is missing, names are of another form, or a query is of identity 0.
    """
    contents = archives[0]
    measured = any({"query", "bounding_box_test"} & set(name.split("/")) for name in contents.names)
    folders = _FOLDERS if measured else {"bounding_box_train": _FOLDERS["bounding_box_train"]}
    images = images_in_folders("market_names", contents, folders)
    matches = [(name, split, _NAME.fullmatch(stem)) for name, stem, split in images]
    strange = [name for name, _, match in matches if match is None]
    if strange:
        raise ValueError(
            f"market_names: {len(strange):,} names in {contents.file} are not like '0002_c1s1_000451_03.jpg' "
            f"(identity, _c, camera, then anything): {listed(strange)}; rename them, or use dataset.reader=folder"
        )
    kept = [(name, split, match) for name, split, match in matches if match and match["identity"] != "-1"]
    nobody = [name for name, split, match in kept if split == "query" and int(match["identity"]) == 0]
    if nobody:
        raise ValueError(
            f"market_names: identity 0 is a distractor, which no query is; found {len(nobody):,} queries of identity 0 "
            f"in {contents.file}: {listed(nobody)}; number people from 1"
        )
    first = min([1, *(int(match["camera"]) for *_, match in kept)])
    entries = [_entry(name, split, match, first) for name, split, match in kept]
    cameras = {entry.camera: str(entry.camera + first) for entry in entries}
    return Listing(entries, junk=len(images) - len(kept), cameras=cameras)


def _entry(name: str, split: SplitName, match: re.Match[str], first_camera: int) -> Entry:
    camera, frame, identity = int(match["camera"]) - first_camera, int(match["frame"] or -1), int(match["identity"])
    return Entry(0, name, split, camera, -1, frame, identity, int(match["sequence"] or -1))
