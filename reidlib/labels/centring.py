"""Per-camera centring: what all images of a camera share says nothing about who is in them."""

import numpy as np
from jaxtyping import Float, Float32, Int


def centre_cameras(embeddings: Float[np.ndarray, "n d"], cameras: Int[np.ndarray, "n"]) -> Float32[np.ndarray, "n d"]:
    """The embeddings minus their camera's mean, as unit-norm rows again.

    From random weights clusters follow cameras, not identities; this takes each camera's offset away. A row that
    equals its camera's mean (a camera of one image, or of equal images) has no direction left and stays as it was.
    """
    centred = np.array(embeddings, dtype=np.float32, order="C")
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        part = centred[rows]
        shifted = part - part.mean(axis=0, dtype=np.float64).astype(np.float32)
        norms = np.linalg.norm(shifted, axis=1, keepdims=True)
        vanished = norms[:, 0] <= 1e-5 * np.linalg.norm(part, axis=1)
        shifted[~vanished] /= norms[~vanished]
        shifted[vanished] = part[vanished]
        centred[rows] = shifted
    return centred
