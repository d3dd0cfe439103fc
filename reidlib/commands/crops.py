"""From videos to crops: ``reidlib crops door.mp4 yard.mp4 --boxes door.txt yard.txt``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.commands.parsing import command_parser

if TYPE_CHECKING:
    import pandas as pd

HELP = "cut videos by boxes into crops, ready for training and for a gallery"
EXAMPLE = """reidlib crops door.mp4 yard.mp4 --boxes door.txt yard.txt   # crops/door/…, crops/yard/…, crops/times.csv
reidlib crops door.mp4 --of person                          # without boxes: a detector, and tracks by overlap
reidlib crops a.mp4 b.mp4 --cameras door door --starts 2024-05-01T12:00 2024-05-01T13:00 --boxes a.txt b.txt"""


def main(arguments: Sequence[str]) -> None:
    """Write crops and times.csv, and print what was left out, and why."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    count = len(chosen.videos)
    for name in ("boxes", "cameras", "starts"):
        given = getattr(chosen, name)
        if given and len(given) != count:
            parser.error(f"--{name}: expected {count}, one for each video, found {len(given)}")

    from reidlib.footage.cutting import Footage, cut
    from reidlib.footage.rules import Rules

    cameras = chosen.cameras or [video.stem for video in chosen.videos]
    starts = chosen.starts or [None] * count
    rules = Rules(**{name: getattr(chosen, name) for name in ("score", "side_px", "cut_off", "blurred", "alike")})
    boxes = _boxes(chosen)
    footage = [Footage(*each) for each in zip(chosen.videos, cameras, boxes, starts, strict=True)]
    counted = cut(footage, chosen.to, rules=rules)
    for video, damage in zip(counted["video"], counted["damage"], strict=True):
        if damage:
            print(f"warning: {video} was read in part alone: {damage}", file=sys.stderr)
    print(counted.drop(columns="damage").to_string(index=False))
    print(f"wrote {chosen.to}: {counted['crops'].sum():,} crops of {counted['tracklets'].sum():,} tracklets")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("crops", f"{HELP}. What is left out is counted by rule.", EXAMPLE)
    parser.add_argument("videos", nargs="+", type=Path, help="videos, each of one camera")
    parser.add_argument("--boxes", nargs="+", type=Path, metavar="FILE",
                        help="of each video, as in MOT: frame,track,x,y,width,height,score; else detected")  # fmt: skip
    parser.add_argument("--to", type=Path, default=Path("crops"), help="a new folder; crops")
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="of each video; the videos' names without endings")
    parser.add_argument(
        "--starts", nargs="+", metavar="TIME", help="when each video begins: seconds, or 2024-05-01T12:00"
    )
    parser.add_argument("--score", type=float, default=0.3, help="unsure: below this score, where it is known; 0.3")
    parser.add_argument("--side-px", type=float, default=24, help="tiny: a shorter side below this; 24")
    parser.add_argument("--cut-off", type=float, default=0.1, metavar="SHARE",
                        help="cut off: at an edge, or more than this outside of it; 0.1; 1 keeps both")  # fmt: skip
    parser.add_argument("--blurred", type=float, default=0.5, metavar="SHARE",
                        help="blurred: sharpness below this share of the tracklet's median; 0.5")  # fmt: skip
    parser.add_argument("--alike", type=float, default=0.02, metavar="SHARE",
                        help="alike: differs less from the crop kept before, of the full range; 0.02")  # fmt: skip
    found = parser.add_argument_group("without boxes")
    found.add_argument("--of", default="person", help="what to find, a category of COCO; person")
    found.add_argument("--weights", type=Path, help="the detector's, as torchvision's hub gives them; else from there")
    found.add_argument("--device", help='of torch, such as "cuda:1"; the first GPU where there is one')
    found.add_argument(
        "--keep-boxes", type=Path, metavar="FOLDER", help="write what was found there, as --boxes reads it"
    )
    return parser


def _boxes(chosen: argparse.Namespace) -> "list[pd.DataFrame]":
    """Return the boxes of each video, with tracks: of its file, or of a detector."""
    from reidlib.footage.boxes import NO_TRACK, read_boxes, write_boxes
    from reidlib.footage.tracking import tracked

    if chosen.boxes:
        tables = [read_boxes(path) for path in chosen.boxes]
    else:
        from reidlib.footage.detection import detector, found_boxes
        from reidlib.footage.video import Video

        detect = detector(chosen.of, weights=chosen.weights, device=chosen.device)
        tables = [found_boxes(Video(path), detect) for path in chosen.videos]
    tables = [tracked(table) if (table["track"] == NO_TRACK).any() else table for table in tables]
    if chosen.keep_boxes:
        for video, table in zip(chosen.videos, tables, strict=True):
            write_boxes(chosen.keep_boxes / f"{video.stem}.txt", table)
    return tables
