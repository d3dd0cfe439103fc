"""Cosines between pictures of different cameras: of pairs nobody knows anything of, and of pairs of strangers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped

from reidlib.calibration.calibration import camera_pair

Embeddings = Float32[np.ndarray, "n d"]
Cameras = Shaped[np.ndarray, "n"]  # numbers or names
Numbers = Integer[np.ndarray, "n"]
Cosines = Float32[np.ndarray, "_"]


@dataclass(frozen=True)
class Pictures:
    """Embeddings of pictures, their cameras, and their clusters where they were trained on (-1: outlier).

    Without clusters every picture may be of anybody.
    """

    embeddings: Embeddings
    cameras: Cameras
    labels: Numbers | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.cameras)

    def beside(self, others: "Pictures") -> "Pictures":
        """Return these and others, without clusters."""
        both = ((getattr(self, name), getattr(others, name)) for name in ("embeddings", "cameras"))
        return Pictures(*(np.concatenate(pair) for pair in both))

    def sample(self, most: int, generator: np.random.Generator) -> "Pictures":
        """Return at most so many of them, drawn evenly, in their order."""
        if len(self) <= most:
            return self
        rows = np.sort(generator.choice(len(self), most, replace=False))
        return Pictures(self.embeddings[rows], self.cameras[rows], None if self.labels is None else self.labels[rows])


def camera_pairs(cameras: Cameras) -> list[tuple[Any, Any]]:
    """Return the pairs of different cameras; the one camera with itself where there is one alone."""
    names = np.unique(cameras).tolist()
    return [(a, b) for a, b in combinations_with_replacement(names, 2) if a != b or len(names) == 1]


def cosines_within(pictures: Pictures) -> Iterator[tuple[str, Cosines]]:
    """Yield, for each pair of cameras, the cosines of all pictures of one with all of the other."""
    for one, other in camera_pairs(pictures.cameras):
        cosines = _between(pictures, one, pictures, other)
        if one == other:  # each pair once, none with itself
            cosines = cosines[np.triu_indices(len(cosines), 1)]
        yield camera_pair(one, other), cosines.ravel()


def cosines_of_strangers(pictures: Pictures, trained: Pictures) -> Iterator[tuple[str, Cosines]]:
    """Yield, for each pair of the pictures' cameras, the cosines of pictures of one with training images of the other.

    They are of different individuals where training images show none that the pictures do. All training images stand
    for those of a camera that has none.
    """
    for one, other in camera_pairs(pictures.cameras):
        sides = {(one, other), (other, one)}
        parts = [_between(pictures, a, trained, b).ravel() for a, b in sorted(sides)]
        yield camera_pair(one, other), np.concatenate(parts)


def cosines_of_clusters(trained: Pictures) -> Iterator[tuple[str, Cosines]]:
    """Yield, for each pair of cameras, the cosines of training images in different clusters; an outlier is alone."""
    labels = trained.labels
    assert labels is not None
    for one, other in camera_pairs(trained.cameras):
        left, right = (labels[trained.cameras == camera] for camera in (one, other))
        different = (left[:, None] != right) | (left[:, None] < 0)
        if one == other:
            different = np.triu(different, 1)
        yield camera_pair(one, other), _between(trained, one, trained, other)[different]


def _between(first: Pictures, one: Any, second: Pictures, other: Any) -> Float32[np.ndarray, "n m"]:
    return first.embeddings[_on(first, one)] @ second.embeddings[_on(second, other)].T


def _on(pictures: Pictures, camera: Any) -> Bool[np.ndarray, "n"]:
    """Return which pictures a camera took, all where it took none."""
    taken: Bool[np.ndarray, "n"] = pictures.cameras == camera
    return taken if taken.any() else ~taken
