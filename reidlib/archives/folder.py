"""A user's own crops: one folder per camera, anything below it.

::

    entrance/17/0001.jpg             camera "entrance", tracklet "17", frame 1
    entrance/17/0001_t0.040s.jpg     the same, taken at 0.04 seconds of the camera's clock
    entrance/lone.jpg                a camera's folder may hold images directly: no tracklet
    yard/...                         the next camera
    times.csv                        optional: path,time or path,time,tracklet; goes before names and folders
    query/entrance/..., gallery/...  optional: what to evaluate with; then the rest (or train/...) is what to train on
    identities.csv                   optional: path,identity; only evaluation sees it

All of it may lie in a folder, and that in others.
"""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from reidlib.archives.archive import Contents, Entry, Listing, image_names, summary
from reidlib.archives.identity_list import UNKNOWN, likely_lists, read_identity_list
from reidlib.archives.layout import Place, find_places, question_of_people
from reidlib.archives.time_list import Seen, read_time_list
from reidlib.files import listed
from reidlib.images.split import SplitName
from reidlib.images.times import time_in_name

_LARGEST = 2**31 - 1
_TRACKLETS = "folders inside a camera's are kept as tracklets: whom a tracker followed there, not people by their names"


def folder(archives: Sequence[Contents]) -> Listing:
    """A user's own crops: a folder is a camera, a folder inside it a tracklet, both numbered by sorted name.

    Images are train unless they lie in query/ or gallery/, which come together. The same camera name in two splits is
    one camera; a tracklet is one within its camera and split. The frame is the number that the file's name ends in,
    or ends in before a time; what times.csv says goes before what names and folders do, where its cell is not empty.

    Raises:
        ValueError: No images; a layout that `find_places` refuses; an identities.csv that cannot be read, names images
            that are not there, leaves out some to evaluate with, or says 0, which no person is, of a query; a
            times.csv that cannot be read or names images that are not there.
    """
    contents = archives[0]
    names = image_names(contents)
    if not names:
        raise ValueError(f"folder: no images in {contents.file}; {summary(contents)}")
    base, places = find_places(names, file=contents.file)
    identities = read_identity_list(contents, base=base, names=set(names))
    seen = read_time_list(contents, base=base, names=set(names))
    places = [place._replace(tracklet=seen.get(place.name, Seen()).tracklet or place.tracklet) for place in places]
    _check_identities(places, identities, contents.file)
    if question := question_of_people(places):
        warnings.warn(question, stacklevel=2)
    cameras = {camera: number for number, camera in enumerate(sorted({place.camera for place in places}))}
    tracklets = {key: number for number, key in enumerate(sorted({place[1:] for place in places if place.tracklet}))}
    return Listing(
        [_entry(place, identities, cameras, tracklets, seen.get(place.name, Seen()).time_seconds) for place in places],
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
        notes.append(_TRACKLETS)
    if not any(number > 0 for number in identities.values()):
        found = likely_lists(contents)
        meant = f"; not read as such: {listed(found)}. It is called identities.csv and lies beside the cameras' folders"
        notes.append(f"no identity is known: mAP will not be{meant if found else ''}")
    return notes


def _entry(
    place: Place,
    identities: Mapping[str, int],
    cameras: Mapping[str, int],
    tracklets: Mapping[tuple[SplitName, str, str], int],
    time_seconds: float,
) -> Entry:
    stem, time_of_name = time_in_name(PurePosixPath(place.name).stem)
    identity = identities.get(place.name, UNKNOWN)
    return Entry(
        source=0,
        name=place.name,
        split=place.split,
        camera=cameras[place.camera],
        tracklet=tracklets.get(place[1:], -1),
        frame=_frame(stem),
        identity=None if identity == UNKNOWN else identity,
        time_seconds=time_of_name if math.isnan(time_seconds) else time_seconds,
    )


def _frame(stem: str) -> int:
    """Return the number that the name ends in, -1 where there is none or it does not fit in 31 bits."""
    digits = stem[len(stem.rstrip("0123456789")) :].lstrip("0") or stem[-1:]
    return int(digits) if re.fullmatch(r"[0-9]{1,10}", digits) and int(digits) <= _LARGEST else -1
