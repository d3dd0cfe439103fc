"""Boxes of a video in the format of MOT challenges: frame, track, x, y, width, height, score; one a line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.files import atomic_file, listed

BOXES = {
    **{"frame": np.int64, "track": np.int64, "x": np.float64, "y": np.float64},
    **{"width": np.float64, "height": np.float64, "score": np.float64},
}
NO_TRACK = -1


def read_boxes(path: Path) -> pd.DataFrame:
    """Return the boxes of a file, columns `BOXES`, ordered by frame and track.

    Frames count from 1; x and y are the left upper corner in pixels of the picture as players show it. A score that is
    absent or below 0 is unknown: NaN. A track of -1 is none, in all rows or in no row: such boxes are a detector's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no boxes, a line that is none, frames from 0, or a track that is twice in a frame.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: expected a file of boxes (frame, track, x, y, width, height, score), found none; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected lines of numbers, found no text ({error})") from error
    rows = [_box(line, f"{path} line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ValueError(f"{path}: no boxes in it; expected lines like 1,17,912,484,97,109,0.9")
    table = pd.DataFrame(rows, columns=list(BOXES)).astype(BOXES).sort_values(["frame", "track"], ignore_index=True)
    if table["frame"].min() < 1:
        raise ValueError(f"{path}: frames count from 1, found frame {table['frame'].min()}; add one to each")
    alone = table["track"] == NO_TRACK
    if alone.any() and not alone.all():
        raise ValueError(
            f"{path}: {int(alone.sum()):,} of {len(table):,} boxes have the track -1; expected all or none"
        )
    twice = table[~alone & table.duplicated(["frame", "track"])]
    if len(twice):
        what = [f"track {track} in frame {frame}" for frame, track in zip(twice["frame"], twice["track"], strict=True)]
        raise ValueError(f"{path}: {listed(what, 3)}: more than once")
    return table


def write_boxes(path: Path, boxes: pd.DataFrame) -> None:
    """Write boxes as `read_boxes` reads them, to a hundredth of a pixel."""
    with atomic_file(path) as temporary:
        boxes[list(BOXES)].fillna({"score": -1.0}).to_csv(
            temporary, header=False, index=False, float_format="%.2f", lineterminator="\n"
        )


def _box(line: str, where: str) -> tuple[float, ...]:
    wrong = f"{where}: {line[:80]!r}; expected frame,track,x,y,width,height and perhaps a score: numbers"
    try:
        numbers = [float(cell) for cell in re.split(r"[,;\s]+", line.strip().strip(","))]
    except ValueError as error:
        raise ValueError(wrong) from error
    box, score = numbers[:6], numbers[6] if len(numbers) > 6 else -1.0
    whole = len(box) == 6 and all(abs(number) < 2**31 for number in numbers) and all(n.is_integer() for n in box[:2])
    if not whole or min(box[4:]) <= 0 or box[1] < NO_TRACK:
        raise ValueError(wrong)
    return *box, score if score >= 0 else float("nan")
