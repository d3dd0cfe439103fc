"""Rows of embeddings as the kernels take them, and the check of their norms."""

import numpy as np
from jaxtyping import Float, Float32

from reidlib.neighbours import search_kernels as kernels

NORM_TOLERANCE = 0.01  # for float16


def read_only(rows: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The rows contiguous, in float32 and read-only, as memory maps are.

    Numba would compile a kernel a second time for arrays that can be written to.
    """
    view = np.ascontiguousarray(rows, np.float32).view()
    view.flags.writeable = False
    return view


def unit_rows(rows: Float[np.ndarray, "n d"], name: str) -> Float32[np.ndarray, "n d"]:
    """The rows as `read_only` gives them, checked to be finite and of norm 1."""
    checked = read_only(rows)
    check_norms(kernels.norms(checked), name)
    return checked


def check_norms(norms: Float[np.ndarray, "n"], name: str, *, tolerance: float = NORM_TOLERANCE) -> None:
    """Refuse rows that are not finite and of norm 1 (within a hundredth), naming the first one."""
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= tolerance))
    if len(wrong):
        raise ValueError(
            f"{name} must be finite rows of norm 1, but {len(wrong)} of {len(norms)} are not; row {wrong[0]} has norm "
            f"{norms[wrong[0]]:.4g}. Divide each row by its norm; NaN or 0 means a broken image or a diverged network"
        )
