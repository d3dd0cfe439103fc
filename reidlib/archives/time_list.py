"""When each image of a user's own archive was taken, and by which of a tracker's tracks it was cut: times.csv."""

from collections.abc import Collection
from typing import NamedTuple

from reidlib.archives.archive import Contents
from reidlib.archives.path_list import read_path_list
from reidlib.images.times import seconds

_FILE = "times.csv"


class Seen(NamedTuple):
    """What times.csv says of an image: NaN and empty where it does not."""

    time_seconds: float = float("nan")
    tracklet: str = ""


def read_time_list(contents: Contents, *, base: str, names: Collection[str]) -> dict[str, Seen]:
    """Return what times.csv says of the images that it names; empty where there is no such file.

    Its first line is ``path,time`` or ``path,time,tracklet``; it lies, and its paths count, as those of identities.csv.
    A time is a number of seconds on the camera's clock, whenever that begins, or ISO 8601 (UTC without a zone).

    Raises:
        ValueError: several files, no such table, paths that are not there or have two rows, or a cell that is no time.
    """
    headers = ("path,time", "path,time,tracklet")
    where, cells = read_path_list(
        contents, _FILE, base=base, names=names, headers=headers, what=("a time", "times or tracklets")
    )
    seen = {}
    for name, (time, *tracklet) in cells.items():
        try:
            seen[name] = Seen(seconds(time), *tracklet)
        except ValueError as error:
            raise ValueError(f"{where}: {name}: {error}") from error
        if seen[name].time_seconds in (float("inf"), float("-inf")):
            raise ValueError(f"{where}: {name}: time {time!r} is not finite; leave the cell empty where it is unknown")
    return seen
