"""A dataset as the pipeline leaves it, as far as `reidlib ask` needs it; names tell who it is, for tests to answer."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from reidlib.commands.compose import compose_values
from reidlib.images.names import write_names
from reidlib.images.split import image_id, write_rows
from reidlib.tables import write_array

PEOPLE, IMAGES = 12, 96


def make_asked(folder: Path, *, camera: str = "cam", tracklets: bool = False) -> Path:
    """Write params.yaml and data/synthetic below the folder, and return where answers will go.

    Args:
        folder: of the repository.
        camera: what cameras are called, before their number 0 or 1.
        tracklets: whether two images of each person on each camera are a tracklet; two people at a time pass a camera.
    """
    data, generator = folder / "data/synthetic", np.random.default_rng(0)
    paths = [f"{camera}{number // PEOPLE % 2}/{number % PEOPLE:02}_{number:03}.jpg" for number in range(IMAGES)]
    paths = sorted(paths, key=lambda path: image_id(path.encode()))
    people, numbers = (np.array([int(path[-10:-4].split("_")[part]) for path in paths]) for part in (0, 1))
    ids = [image_id(path.encode()) for path in paths]
    cameras = (numbers // PEOPLE % 2).astype(np.int16)
    told = np.where((numbers < IMAGES // 2) & tracklets, people * 2 + cameras, -1)
    rows = pd.DataFrame({"image": ids, "camera": cameras, "tracklet": told.astype(np.int32), "frame": np.int32(-1)})
    if tracklets:
        times = np.where(told >= 0, told // 4 * 100.0 + numbers, np.nan)
        rows = rows.assign(sequence=np.int32(-1), time_seconds=times)
    write_rows(data / "images/train", rows)
    levels = people[:, None, None, None] * 20 + generator.integers(0, 15, (IMAGES, 16, 8, 3))
    write_array(data / "images/train/pixels.npy", levels.astype(np.uint8))
    for name, width in (("train", 24), ("colours", 16)):
        rows_of = generator.normal(size=(PEOPLE, width))[people] + 1.1 * generator.normal(size=(IMAGES, width))
        rows_of /= np.linalg.norm(rows_of, axis=1, keepdims=True)
        write_array(data / f"features/{name}.npy", rows_of.astype(np.float32))
    called = {
        "camera": [f"{camera}{number}" for number in cameras],
        "tracklet": [str(t) if t >= 0 else "" for t in told],
    }
    write_names(data / "names.parquet", pd.DataFrame({"image": ids, "path": paths, **called}))
    (folder / "params.yaml").write_text(yaml.safe_dump(compose_values([])))
    return data / "links.csv"


def person(path: str) -> str:
    """Who is on a picture."""
    return path[-10:-8]


def truth(first: str, second: str) -> str:
    """What a person who looks at two pictures answers."""
    return "same" if person(first) == person(second) else "different"
