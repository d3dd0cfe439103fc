"""Another dataset to train on beside the first: its images and cameras, and the identities known of them."""

from pathlib import Path

import numpy as np
from jaxtyping import Int16, Int32, UInt8

from reidlib.images.identities import known_identities, read_identities
from reidlib.images.split import Split, open_training


def with_source(
    split: Split, source_images: Path, source_identities: Path, *, name: str
) -> tuple[UInt8[np.ndarray, "m h w 3"], Int16[np.ndarray, "m"], Int32[np.ndarray, "k"] | None]:
    """Return the training images and cameras followed by those of another dataset, and the identities of the latter.

    Without another dataset (`name` is none) these are the training images and cameras alone, and no identities.

    All are held in memory. The other dataset's cameras are numbered after these; without camera labels all images are
    on camera 0.

    Args:
        split: the images to train on.
        source_images: the other dataset's folder images/train.
        source_identities: what `unzip` wrote apart for it.
        name: of the other dataset, or none.

    Raises:
        ValueError: where the other dataset is the same, its images are packed in another size, or no identity is known.
    """
    if name == "none":
        return split.images, split.cameras, None
    source = open_training(source_images, camera_labels=split.camera_labels)
    size, expected = (f"{images.shape[1]} x {images.shape[2]}" for images in (source.images, split.images))
    if size != expected:
        raise ValueError(
            f"{source_images}: expected images of {expected} pixels, as the dataset to train on has them, found {size};"
            " unzip both with the same unzip.height_px and width_px"
        )
    shared = _shared_images(split, source)
    if shared:
        raise ValueError(
            f"source.name: expected another dataset than the one to train on, whose identities no training may see; "
            f"found {shared:,} of its images in {source_images}: source=none, or source=other source.name=<dataset>"
        )
    identities = known_identities(source.ids, read_identities(source_identities))
    if not (identities > 0).any():
        raise ValueError(f"{source_identities}: expected identities of training images, found none; set source=none")
    cameras = source.cameras
    if split.camera_labels:
        cameras = (cameras - cameras.min() + split.cameras.max() + 1).astype(np.int16)
    return np.concatenate([split.images, source.images]), np.concatenate([split.cameras, cameras]), identities


def _shared_images(split: Split, source: Split) -> int:
    """Count the images of both: equal ids, which are hashes of names, and equal pixels."""
    _, rows, source_rows = np.intersect1d(split.ids, source.ids, assume_unique=True, return_indices=True)
    return int((split.images[rows] == source.images[source_rows]).all(axis=(1, 2, 3)).sum())
