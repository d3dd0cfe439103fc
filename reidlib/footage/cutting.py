"""Videos and boxes to crops in the layout of `folder`: <camera>/<tracklet>/<frame>_t<seconds>s.jpg, and times.csv."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

import pandas as pd
from PIL import Image

from reidlib.files import atomic_folder, listed
from reidlib.footage.rules import LEFT_OUT, Box, Look, Rules, crop, look, thinned
from reidlib.footage.video import Video
from reidlib.images.split import SPLITS
from reidlib.images.times import name_with_time, seconds
from reidlib.progress import progress
from reidlib.tables import write_csv

JPEG_QUALITY = 95
TIMES_FILE = "times.csv"


@dataclass(frozen=True)
class Footage:
    """A video of a camera with its boxes.

    Attributes:
        path: of the video.
        camera: what its folder is called.
        boxes: columns of `reidlib.footage.boxes.BOXES`, with tracks.
        start: when it begins, as `reidlib.images.times.seconds` reads it: times are counted from there; None: from 0.
    """

    path: Path
    camera: str
    boxes: pd.DataFrame
    start: str | None = None


class Crop(NamedTuple):
    """A crop on the disk, of a tracklet, before whole tracklets are looked at."""

    path: Path
    time: str
    look: Look


def cut(footage: Sequence[Footage], folder: Path, *, rules: Rules) -> pd.DataFrame:
    """Write the crops of all videos into a new folder, whole or not at all, and return what was counted.

    A video that ends before its boxes do is cut as far as it can be read, which the counts tell; where it was read to
    the end that it declares, the boxes are another video's, which is refused.

    Returns:
        a row for each video: camera, video, boxes, `LEFT_OUT` each, unread (boxes of frames that could not be read),
        crops, tracklets, and damage: why it was not read to its end, or empty.

    Raises:
        ValueError: the folder holds something; names of cameras that no folder can have, or which mean a split; several
            videos of a camera without starts or of one name; boxes of another video; a video that cannot be read; not
            one crop left.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a new or empty folder for the crops, found something in it; name another")
    _check(footage)
    with atomic_folder(folder) as made:
        rows: list[dict[str, str | int]] = []
        times: list[tuple[str, str]] = []
        for each in footage:
            kept, counts = _cut(each, made, rules)
            times += [(PurePosixPath(one.path.relative_to(made)).as_posix(), one.time) for one in kept]
            rows.append({"camera": each.camera, "video": each.path.name, **counts})
        counted = pd.DataFrame(rows)
        if not times:
            raise ValueError(
                f"not one crop is left of {counted['boxes'].sum():,} boxes:\n{counted.to_string(index=False)}"
            )
        write_csv(made / TIMES_FILE, pd.DataFrame(sorted(times), columns=["path", "time"]))
    return counted


def _cut(footage: Footage, folder: Path, rules: Rules) -> tuple[list[Crop], dict[str, str | int]]:
    """Write the crops of one video, and take those of whole tracklets away again that rules leave out."""
    video, boxes = Video(footage.path), footage.boxes
    by_frame = {cast("int", frame): part for frame, part in boxes.groupby("frame")}
    left_out: Counter[str] = Counter()
    tracklets: dict[Path, list[Crop]] = defaultdict(list)
    begin = seconds(footage.start or 0)
    for frame in progress(video.frames(by_frame.keys()), f"cutting {footage.path.name}", total=len(by_frame)):
        name = name_with_time(f"{frame.number:06d}", begin + frame.time_seconds)
        for track, *sides in by_frame.pop(frame.number)[["track", *Box._fields]].itertuples(index=False, name=None):
            found = crop(frame.pixels, Box(*sides), rules)
            if isinstance(found, str):
                left_out[found] += 1
                continue
            place = folder / footage.camera / f"{footage.path.stem}-{track:06d}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(found).save(place / f"{name}.jpg", quality=JPEG_QUALITY)
            tracklets[place].append(Crop(place / f"{name}.jpg", name.rpartition("_t")[2][:-1], look(found)))
    damage = _damage(video, by_frame)
    kept = [one for place, crops in tracklets.items() for one in _thin(place, crops, rules, left_out)]
    counts = {rule: left_out[rule] for rule in LEFT_OUT}
    unread = sum(map(len, by_frame.values()))
    whole: dict[str, str | int] = {"tracklets": len({one.path.parent for one in kept}), "damage": damage}
    return kept, {"boxes": len(boxes), **counts, "unread": unread, "crops": len(kept), **whole}


def _thin(place: Path, crops: Sequence[Crop], rules: Rules, left_out: Counter[str]) -> list[Crop]:
    """Remove the crops that rules for whole tracklets leave out, and return the others."""
    why = thinned([one.look for one in crops], rules)
    for one, rule in zip(crops, why, strict=True):
        if rule:
            one.path.unlink()
            left_out[rule] += 1
    kept = [one for one, rule in zip(crops, why, strict=True) if not rule]
    if not kept:
        place.rmdir()
    return kept


def _damage(video: Video, unread: Mapping[int, pd.DataFrame]) -> str:
    """Return why a video was not read to its end; refuse boxes beyond the end of one which was."""
    if unread and not video.damage and video.declared:
        raise ValueError(
            f"{video.path}: boxes up to frame {max(unread):,}, but the whole video has {video.frames_read:,} frames; "
            "are they another video's, or of every frame where some were left out?"
        )
    return video.damage or (f"it ends after frame {video.frames_read:,}" if unread else "")


def _check(footage: Sequence[Footage]) -> None:
    cameras = [each.camera for each in footage]
    for each in footage:
        if each.start is not None and not 0 <= seconds(each.start) < 1e12:
            raise ValueError(f"{each.path}: expected a start of 0 seconds or more, or a time; found {each.start}")
    for camera in cameras:
        if not camera or camera != PurePosixPath(camera).name or camera.startswith(".") or camera.lower() in SPLITS:
            raise ValueError(
                f"camera {camera!r}: expected a name that a folder can have, and not {listed(SPLITS)}, which are no "
                "cameras; say others: --cameras, one for each video"
            )
    for camera in set(cameras):
        mine = [each for each in footage if each.camera == camera]
        if len({each.path.stem for each in mine}) < len(mine):
            raise ValueError(
                f"camera {camera}: two videos of one name, {listed([each.path for each in mine])}; rename one"
            )
        starts = {seconds(each.start) for each in mine if each.start is not None}
        if len(starts) < len(mine) > 1:
            raise ValueError(
                f"camera {camera} has {len(mine)} videos, whose times would be mixed up; say when each begins: "
                "--starts, or give each a camera of its own: --cameras"
            )
