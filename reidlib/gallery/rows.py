"""What is known of each picture of a gallery: its camera, time, tracklet and identity, by folders, names or a CSV."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Integer

from reidlib.files import listed
from reidlib.gallery.pictures import Picture
from reidlib.images.times import seconds, time_in_name

KNOWN = ("camera", "time", "tracklet", "identity")


def rows_by_folders(files: Sequence[Path], top: Path) -> pd.DataFrame:
    """Tell cameras and tracklets by the folders below `top`, <camera>/<tracklet>/….jpg, and times by `time_in_name`.

    A flat folder tells neither camera nor tracklet.
    """
    above = [file.relative_to(top).parts[:-1] if file != top else () for file in files]
    cameras = [parts[0] if parts else "" for parts in above]
    times = [time_in_name(file.stem)[1] for file in files]
    return _table(files, camera=cameras, tracklet=["/".join(parts[1:]) for parts in above], time=times)


def rows_by_names(files: Sequence[Path], pattern: str) -> pd.DataFrame:
    r"""Tell what the files' paths say by a regular expression with groups of the names in `KNOWN`.

    >>> rows_by_names([Path("0002_c1s1_000451_03.jpg")], r"(?P<identity>\d+)_c(?P<camera>\d)").camera[0]
    '1'

    Raises:
        ValueError: no regular expression, one without such groups, or one that does not match a path.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--names: {pattern!r} is no regular expression ({error})") from error
    groups = set(found.groupindex)
    if not groups or groups - set(KNOWN):
        raise ValueError(f"--names: expected groups like (?P<camera>…), of {', '.join(KNOWN)}; found {listed(groups)}")
    matches = [found.search(file.as_posix()) for file in files]
    strange = [file for file, match in zip(files, matches, strict=True) if match is None]
    if strange:
        raise ValueError(
            f"--names: {pattern!r} does not match {len(strange):,} of {len(files):,}: {listed(strange, 3)}"
        )
    return _table(files, **{name: [match[name] or "" for match in matches if match] for name in found.groupindex})


def rows_by_csv(files: Sequence[Path], path: Path) -> pd.DataFrame:
    """Tell what a CSV says: a column path (as given, or relative to the CSV), and any of the columns in `KNOWN`.

    Raises:
        ValueError: no such CSV, another column, or a picture that it does not tell of.
    """
    try:
        told = pd.read_csv(path, dtype="string", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({error})") from error
    columns = set(map(str, told.columns))
    if "path" not in columns or columns - {"path", *KNOWN}:
        raise ValueError(f"{path}: expected the columns path and any of {', '.join(KNOWN)}; found {listed(columns)}")
    absolute = [str((path.parent / name).absolute()) for name in told["path"]]
    told = told.assign(path=absolute).drop_duplicates("path").set_index("path")
    names = [str(file.absolute()) for file in files]
    strange = [name for name in names if name not in told.index]
    if strange:
        raise ValueError(f"{path}: tells nothing of {len(strange):,} of {len(files):,} pictures: {listed(strange, 3)}")
    return _table(files, **{name: told.loc[names, name].tolist() for name in columns - {"path"}})


def tracklet_groups(rows: pd.DataFrame) -> Int64[np.ndarray, "n"]:
    """Return a number for each row, the same for rows of one tracklet of one camera; others have their own."""
    keys = rows["camera"].astype(str) + "\0" + rows["tracklet"].astype(str)
    numbers, _ = pd.factorize(keys)
    alone = rows["tracklet"].to_numpy() == ""
    return np.where(alone, len(rows) + np.arange(len(rows)), numbers).astype(np.int64)


def rows_of_pictures(pictures: Sequence[Picture], given: Picture | Sequence[Picture]) -> pd.DataFrame:
    """Tell of pictures that are all files what their folders tell, where one folder of them was given; else the paths.

    Raises:
        ValueError: of pictures that are no files, which have no name.
    """
    files = [Path(picture) for picture in pictures if isinstance(picture, str | Path)]
    if len(files) != len(pictures):
        raise ValueError(
            "expected rows (a table with the column path, a name for each) with pictures that are no files, found "
            "none; pass rows=pandas.DataFrame({'path': names})"
        )
    if isinstance(given, str | Path) and Path(given).is_dir():
        return rows_by_folders(files, Path(given))
    return _table(files)


def complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns path and `KNOWN`, blank where a table has them not."""
    blank = {name: np.nan if name == "time" else "" for name in KNOWN if name not in rows}
    return rows.assign(**blank)[["path", *KNOWN]].reset_index(drop=True)


def row_numbers(
    rows: pd.DataFrame, what: Sequence[int] | Sequence[str | Path] | Integer[np.ndarray, "_"], *, where: Path
) -> Int64[np.ndarray, "_"]:
    """Return the numbers of rows by their numbers, or by the paths of pictures and of folders that they lie in.

    Raises:
        ValueError: naming `where`, and what is no row.
    """
    chosen, strange = np.zeros(len(rows), bool), []
    for item in what:
        if isinstance(item, str | Path):
            path = str(Path(item).absolute())
            mine = (rows["path"].isin([str(item), path]) | rows["path"].str.startswith(f"{path}/")).to_numpy()
        else:
            mine = np.arange(len(rows)) == item
        chosen |= mine
        strange += [] if mine.any() else [item]
    if strange:
        raise ValueError(f"{where}: expected some of its {len(rows):,} rows or paths, found {listed(strange, 3)}")
    return np.flatnonzero(chosen)


def filtered(
    of_rows: pd.Categorical,
    times: Float64[np.ndarray, "n"],
    *,
    cameras: Collection[str] | None,
    since: float,
    until: float,
    where: Path | str,
) -> Bool[np.ndarray, "n"] | None:
    """Return which rows are of these cameras and from this time to that; None where all are.

    Args:
        of_rows: the camera of each row.
        times: of each row, NaN where unknown.
        cameras: that are let through; all without.
        since: the earliest time; NaN: any.
        until: the latest.
        where: the gallery, for messages.

    Raises:
        ValueError: a camera that no row has.
    """
    if cameras is None and np.isnan(since) and np.isnan(until):
        return None
    chosen = np.ones(len(times), bool)
    if cameras is not None:
        known = list(of_rows.categories)
        if strange := set(cameras) - set(known):
            raise ValueError(f"{where}: expected cameras among {listed(known)}; found {listed(strange)}")
        chosen &= np.isin(of_rows.codes, [known.index(camera) for camera in cameras])
    if not np.isnan(since):
        chosen &= times >= since
    if not np.isnan(until):
        chosen &= times <= until
    return chosen


def _table(files: Sequence[Path], **told: Sequence[str] | Sequence[float]) -> pd.DataFrame:
    blank = [""] * len(files)
    texts = {name: told.get(name, blank) for name in KNOWN if name != "time"}
    times = np.array([seconds(text) for text in told.get("time", blank)], np.float64)
    return pd.DataFrame({"path": [str(file.absolute()) for file in files], **texts, "time": times})[["path", *KNOWN]]
