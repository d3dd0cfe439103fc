"""A small model in a file, and crops of six people on two cameras: what a practitioner has after training."""

from pathlib import Path

import numpy as np
from PIL import Image

from reidlib.models.architecture import Architecture
from reidlib.models.description import Description
from reidlib.models.embedder import new_embedder, save_embedder

SMALL = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64,
                     height_px=32, width_px=16)  # fmt: skip


def make_model(path: Path) -> Path:
    """Write a model with random weights: pictures of like colours have like vectors."""
    facts = {"recipe": "icsr", "dataset": "crops"}
    described = Description(architecture=SMALL, picture_size_px=(32, 16), training=facts)
    save_embedder(new_embedder(SMALL, seed=1), path, described)
    return path


def make_crops(folder: Path) -> Path:
    """Write <camera>/<person>/<frame>.png of people who differ in the colours of shirt and trousers."""
    generator = np.random.default_rng(0)
    for person, colours in enumerate(generator.integers(0, 256, (6, 2, 3))):
        for camera in ("door", "yard"):
            place = folder / camera / f"person{person}"
            place.mkdir(parents=True)
            for frame in range(2):
                noise = generator.integers(-12, 13, (40, 20, 3))
                pixels = (np.repeat(colours, 20, axis=0)[:, None] + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{frame:03d}.png")
    return folder
