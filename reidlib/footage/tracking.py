"""Tracks from boxes alone, where no tracker was run: a box follows the one that it overlaps most, and only that."""

import numpy as np
import pandas as pd
from jaxtyping import Float64

_SIDES = ["x", "y", "width", "height"]


def tracked(boxes: pd.DataFrame, *, overlap: float = 0.5, gap: int = 5) -> pd.DataFrame:
    """Return the boxes with numbers of tracks, from 1.

    A box goes on with the track whose last box it overlaps (intersection over union) by at least `overlap`, where each
    is the other's best: in doubt a track ends and another begins, since one of two people is worse than two of one. A
    track ends after `gap` frames without a box.

    Args:
        boxes: columns of `reidlib.footage.boxes.BOXES`; the tracks are written over.
        overlap: 0 to 1.
        gap: frames.
    """
    boxes = boxes.sort_values(["frame", "x", "y"], ignore_index=True)
    tracks = np.zeros(len(boxes), np.int64)
    corners = boxes[_SIDES].to_numpy(np.float64)
    frames = boxes["frame"].to_numpy()
    last: dict[int, int] = {}  # track -> the row of its last box
    begun = 0
    if boxes.empty:
        return boxes
    numbers, starts = np.unique(frames, return_index=True)
    for frame, rows in zip(numbers.tolist(), np.split(np.arange(len(boxes)), starts[1:]), strict=True):
        last = {track: row for track, row in last.items() if frame - frames[row] <= gap + 1}
        open_tracks = list(last)
        shares = overlaps(corners[rows], corners[[last[track] for track in open_tracks]])
        for place, row in enumerate(rows.tolist()):
            best = int(shares[place].argmax()) if open_tracks else 0
            if open_tracks and shares[place, best] >= overlap and shares[:, best].argmax() == place:
                tracks[row] = open_tracks[best]
            else:
                begun += 1
                tracks[row] = begun
            last[int(tracks[row])] = row
    return boxes.assign(track=tracks)


def overlaps(ours: Float64[np.ndarray, "n 4"], theirs: Float64[np.ndarray, "m 4"]) -> Float64[np.ndarray, "n m"]:
    """Return intersection over union of each of our boxes (x, y, width, height) with each of theirs."""
    start = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    end = np.minimum(ours[:, None, :2] + ours[:, None, 2:], theirs[None, :, :2] + theirs[None, :, 2:])
    shared = (end - start).clip(0).prod(axis=2)
    return shared / (ours[:, 2:].prod(axis=1)[:, None] + theirs[:, 2:].prod(axis=1)[None] - shared)
