"""Boxes of a video without any: torchvision's detector, trained on COCO."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, UInt8
from torchvision.models import get_model, get_model_weights

from reidlib.files import listed
from reidlib.footage.boxes import BOXES, NO_TRACK
from reidlib.footage.video import Video
from reidlib.progress import progress

DETECTOR = "fasterrcnn_mobilenet_v3_large_fpn"
SHORTER_PX = 800  # of a picture, to which it is brought before it is looked at: as the weights were trained
Detect = Callable[[UInt8[np.ndarray, "h w 3"]], Float64[np.ndarray, "n 5"]]


def detector(what: str, *, weights: Path | None = None, device: str | None = None) -> Detect:
    """Return what finds all of a kind in a picture: x, y, width, height and score of each.

    Args:
        what: one of COCO's categories: person, car, dog, …
        weights: a file as torchvision's hub gives it; without, it is fetched from there.
        device: of torch; the first GPU where there is one.

    Raises:
        ValueError: no such category; a file of other weights, or no hub (with the file to fetch).
    """
    known = get_model_weights(DETECTOR).DEFAULT
    categories = known.meta["categories"]
    if what not in categories or what in ("__background__", "N/A"):
        raise ValueError(
            f"--of: expected one of {listed(set(categories) - {'__background__', 'N/A'}, 100)}; found {what!r}"
        )
    model = get_model(DETECTOR, weights=None, weights_backbone=None, min_size=SHORTER_PX)
    try:
        hub = {"progress": False, "check_hash": True, "weights_only": True, "map_location": "cpu"}
        state = torch.load(weights, "cpu", weights_only=True) if weights else known.get_state_dict(**hub)
        model.load_state_dict(state)
    except Exception as error:  # whatever the hub's client or a file raises: the mend is the same
        raise ValueError(
            f"{weights or 'the hub of torchvision'}: expected the weights of {DETECTOR} ({type(error).__name__}: "
            f"{str(error)[:200]}); fetch {known.url} elsewhere and name the file: --weights"
        ) from error
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.eval().to(where)
    number = categories.index(what)

    def detect(pixels: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "n 5"]:
        image = torch.from_numpy(pixels).to(where).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = model([image])[0]
        mine = found["labels"] == number
        corners, scores = found["boxes"][mine].double(), found["scores"][mine].double()
        boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2], scores[:, None]], dim=1)
        return boxes.cpu().numpy()

    return detect


def found_boxes(video: Video, detect: Detect) -> pd.DataFrame:
    """Return the boxes of all frames, columns `reidlib.footage.boxes.BOXES`, without tracks."""
    rows = [
        (frame.number, NO_TRACK, *box)
        for frame in progress(video.frames(), f"looking at {video.path.name}")
        for box in detect(frame.pixels).tolist()
    ]
    return pd.DataFrame(rows, columns=list(BOXES)).astype(BOXES)
