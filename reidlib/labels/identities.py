"""The ground truth as labels: supervised training, the upper bound."""

import numpy as np
from jaxtyping import Int, Int32

from reidlib.labels.numbering import group_numbers, number_clusters


def identity_labels(
    identities: Int[np.ndarray, "n"], cameras: Int[np.ndarray, "n"] | None = None
) -> Int32[np.ndarray, "n"]:
    """Return identities as labels, numbered by first appearance; unknown ones (<= 0) are outliers.

    Args:
        identities: of the images.
        cameras: of the images; with them a person on two cameras is two clusters, as labels inside cameras are.

    >>> identity_labels(np.array([7, 7, 0, 3]), np.array([0, 1, 1, 1])).tolist()
    [0, 1, -1, 2]
    """
    groups = identities if cameras is None else group_numbers(identities, cameras)
    return number_clusters(np.where(identities > 0, groups, -1))
