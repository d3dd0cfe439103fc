"""What all images of a camera share says nothing about who is in them: it is taken away, camera by camera.

Two cues told apart by nothing but who is in the picture, the network's embeddings and the colours, can then be joined.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

Rows = Float[np.ndarray, "n d"]
Aligned = Float32[np.ndarray, "n d"]
Cameras = Int[np.ndarray, "n"]
Alignment = Literal["none", "centre", "whiten"]
DIRECTIONS = 64  # whose mean variance is added to every direction's before it is divided by


def align_cameras(embeddings: Rows, cameras: Cameras, *, alignment: Alignment) -> Aligned:
    """Return the embeddings aligned across cameras (`centre_cameras`, `whiten_cameras`), or as they are.

    Args:
        embeddings: unit-norm rows.
        cameras: of the rows.
        alignment: how.

    Returns:
        Unit-norm rows.
    """
    if alignment == "none":
        return np.asarray(embeddings, np.float32)
    return {"centre": centre_cameras, "whiten": whiten_cameras}[alignment](embeddings, cameras)


def centre_cameras(embeddings: Rows, cameras: Cameras) -> Aligned:
    """Return the embeddings minus their camera's mean, as unit-norm rows again.

    From random weights clusters follow cameras, not identities; this takes each camera's offset away. A row that
    equals its camera's mean (a camera of one image, or of equal images) has no direction left and stays as it was.
    """
    return _camera_by_camera(embeddings, cameras, lambda centred: centred)


def whiten_cameras(embeddings: Rows, cameras: Cameras) -> Aligned:
    """Return the embeddings minus their camera's mean, whitened by their camera's covariance, as unit-norm rows again.

    Directions in which the images of a camera differ much (its background, its angles of view) count less, and
    cameras have the same covariance afterwards, as CORAL aligns domains [Sun et al., AAAI 2016, arXiv:1511.05547]. A
    direction of variance v is scaled by (v + s)^-1/2, s = the total variance / 64, so that directions known from a few
    images are not blown up; with as many as the embeddings are long or fewer, v is 0 in the others. Rows without a
    direction left stay as they were.

    Time: a singular value decomposition for each camera, n · d · min(n of the camera, d).
    """

    def whiten(centred: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, "m d"]:
        if len(centred) > centred.shape[1]:
            variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
            variances = np.maximum(variances, 0)
        else:
            _, lengths, transposed = np.linalg.svd(centred, full_matrices=False)
            variances, directions = lengths**2 / len(centred), transposed.T
        scales = 1 / np.sqrt(np.maximum(variances + variances.sum() / DIRECTIONS, np.finfo(np.float32).tiny))
        return ((centred @ directions) * scales) @ directions.T

    return _camera_by_camera(embeddings, cameras, whiten)


def join_cues(first: Float32[np.ndarray, "n d"], second: Float32[np.ndarray, "n c"], *, weight: float) -> Float32[
    np.ndarray, "n joined"
]:  # fmt: skip
    """Return unit-norm rows whose cosines are (first cosine + weight² · second cosine) / (1 + weight²).

    Args:
        first: unit-norm rows.
        second: unit-norm rows of the same images.
        weight: length of the second beside the first, >= 0.
    """
    return np.hstack([first, np.float32(weight) * second]) / np.float32(np.sqrt(1 + weight**2))


def _camera_by_camera(
    embeddings: Rows, cameras: Cameras, change: Callable[[Float32[np.ndarray, "m d"]], Float32[np.ndarray, "m d"]]
) -> Aligned:
    aligned = np.array(embeddings, dtype=np.float32, order="C")
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        part = aligned[rows]
        centred = part - part.mean(axis=0, dtype=np.float64).astype(np.float32)
        vanished = np.linalg.norm(centred, axis=1) <= 1e-5 * np.linalg.norm(part, axis=1)
        centred[vanished] = 0
        changed = change(centred)
        norms = np.linalg.norm(changed, axis=1, keepdims=True)
        changed[~vanished] /= norms[~vanished]
        changed[vanished] = part[vanished]
        aligned[rows] = changed
    return aligned
