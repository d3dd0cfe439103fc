"""Embeddings in few bytes, for a page that ranks by cosine."""

import base64

import numpy as np
from jaxtyping import Float32, Int8

LEAST = 32  # dimensions that are kept whatever the bytes


def compact(
    embeddings: Float32[np.ndarray, "n d"], *, most_bytes: int
) -> tuple[Int8[np.ndarray, "n k"], Float32[np.ndarray, "n"]]:
    """Return whole numbers and a scale for each row: cosines are about (a @ b) * scale of a * scale of b.

    Where n x d bytes are too many, only the principal directions (about the origin) that fit are kept: what is lost is
    the cosine of the rest, which is small by their choice.
    """
    rows = np.asarray(embeddings, np.float32)
    kept = max(LEAST, most_bytes // max(len(rows), 1))
    if kept < rows.shape[1]:
        _, directions = np.linalg.eigh((rows.T @ rows).astype(np.float64))
        rows = rows @ directions[:, ::-1][:, :kept].astype(np.float32)
    scales = np.maximum(np.abs(rows).max(axis=1, initial=0), 1e-12) / 127
    return np.rint(rows / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def rounding(
    embeddings: Float32[np.ndarray, "n d"], numbers: Int8[np.ndarray, "n k"], scales: Float32[np.ndarray, "n"]
) -> float:
    """Return the largest error of a cosine, over the pairs of an even sample of 300 rows."""
    rows = np.linspace(0, len(embeddings) - 1, min(300, len(embeddings))).astype(np.int64)
    small = numbers[rows].astype(np.float32) * scales[rows][:, None]
    return float(np.abs(small @ small.T - embeddings[rows] @ embeddings[rows].T).max(initial=0))


def base64_of(array: np.ndarray) -> str:
    """Return an array's bytes (little-endian) as base64."""
    return base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode()
