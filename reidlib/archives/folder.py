"""A user's own crops: one folder per camera, anything below it.

::

    entrance/person_17/0001.jpg      camera "entrance", tracklet "person_17", frame 1
    entrance/lone.jpg                a camera's folder may hold images directly: no tracklet
    yard/...                         the next camera
    query/entrance/..., gallery/...  optional: what to evaluate with; then the rest (or train/...) is what to train on
    identities.csv                   optional: path,identity; only evaluation sees it

All of it may lie in a folder, and that in others.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents, Entry, Listing, image_names, summary
from reidlib.archives.identity_list import UNKNOWN, likely_lists, read_identity_list
from reidlib.archives.layout import Place, find_places, question_of_people
from reidlib.files import listed
from reidlib.images.split import SplitName

_LARGEST = 2**31 - 1


def folder(archives: Sequence[Contents]) -> Listing:
    """A user's own crops: a folder is a camera, a folder inside it a tracklet, both numbered by sorted name.

    Images are train unless they lie in query/ or gallery/, which come together. The same camera name in two splits is
    one camera; a tracklet is one within its split. The frame is the number that the file's name ends in.

    Raises:
        ValueError: No images; a layout that `find_places` refuses; an identities.csv that cannot be read, names images
            that are not there, leaves out some to evaluate with, or says 0, which no person is, of a query.
    """
    contents = archives[0]
    names = image_names(contents)
    if not names:
        raise ValueError(f"folder: no images in {contents.file}; {summary(contents)}")
    base, places = find_places(names, file=contents.file)
    identities = read_identity_list(contents, base=base, names=set(names))
    _check_identities(places, identities, contents.file)
    if question := question_of_people(places):
        warnings.warn(question, stacklevel=2)
    cameras = {camera: number for number, camera in enumerate(sorted({place.camera for place in places}))}
    tracklets = {key: number for number, key in enumerate(sorted({place[1:] for place in places if place.tracklet}))}
    return Listing(
        _entries(places, identities, cameras, tracklets),
        cameras={number: camera for camera, number in cameras.items()},
        tracklets={number: tracklet for (*_, tracklet), number in tracklets.items()},
        notes=_notes(contents, places, identities),
    )


def _check_identities(places: Sequence[Place], identities: Mapping[str, int], file: str) -> None:
    """Refuse identities that leave out an image to evaluate with, or take a query for a distractor."""
    unlisted = [place.name for place in places if place.split != "train" and place.name not in identities]
    if identities and unlisted:
        raise ValueError(
            f"folder: identities.csv of {file} leaves out {len(unlisted):,} images of query and gallery: "
            f"{listed(unlisted)}; give each of them an identity, or -1 where it is not known"
        )
    nobody = [place.name for place in places if place.split == "query" and identities.get(place.name) == 0]
    if nobody:
        raise ValueError(
            f"folder: identities.csv of {file}: identity 0 is a distractor, which no query is; found {len(nobody):,} "
            f"queries of identity 0: {listed(nobody)}; number people from 1"
        )


def _notes(contents: Contents, places: Sequence[Place], identities: Mapping[str, int]) -> list[str]:
    notes = []
    if len({place.camera for place in places}) == 1:
        notes.append(f"one camera alone, {places[0].camera}: nobody can be found across cameras")
    if any(place.tracklet for place in places):
        notes.append("folders inside a camera's are kept as tracklets, which no recipe uses yet")
    if not any(number > 0 for number in identities.values()):
        found = likely_lists(contents)
        meant = f"; not read as such: {listed(found)}. It is called identities.csv and lies beside the cameras' folders"
        notes.append(f"no identity is known: mAP will not be{meant if found else ''}")
    return notes


def _entries(
    places: Sequence[Place],
    identities: Mapping[str, int],
    cameras: Mapping[str, int],
    tracklets: Mapping[tuple[SplitName, str, str], int],
) -> list[Entry]:
    known = {name: number for name, number in identities.items() if number != UNKNOWN}
    return [
        Entry(
            source=0,
            name=place.name,
            split=place.split,
            camera=cameras[place.camera],
            tracklet=tracklets.get(place[1:], -1),
            frame=_frame(place.name),
            identity=known.get(place.name),
        )
        for place in places
    ]


def _frame(name: str) -> int:
    """Return the number that the name ends in, -1 where there is none or it does not fit in 31 bits."""
    stem = PurePosixPath(name).stem
    digits = stem[len(stem.rstrip("0123456789")) :].lstrip("0") or stem[-1:]
    return int(digits) if re.fullmatch(r"[0-9]{1,10}", digits) and int(digits) <= _LARGEST else -1
