"""Signs, without identities, that labels go wrong: what is measured of every epoch's labels, and what it warns of."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from reidlib.labels.quality import label_quality

MOST_REFINED = 0.25  # share of the images that refinement may leave out
MOST_OUTLIERS = 0.5  # share of outliers, where it also has
OUTLIER_GROWTH = 0.1  # grown by this much since the first epoch
LEAST_SPAN = 0.5  # share of clusters that should span cameras
MOST_PROBE = 0.25  # by how much the probe may be right more often than by chance


def camera_probe(embeddings: Float[np.ndarray, "n d"], cameras: Int[np.ndarray, "n"]) -> float:
    """Return by how much a probe tells the camera of an image from its embedding more often than by chance, 0..1.

    The probe takes the camera whose mean embedding has the largest cosine, the image itself left out of its own
    camera's; chance is to be right for one of as many cameras as there are: (right - 1 / C) / (1 - 1 / C), not below 0.
    Where it is large, images are near each other because of their camera. With one camera it is 0.
    """
    names, which, counts = np.unique(cameras, return_inverse=True, return_counts=True)
    if len(names) < 2:
        return 0.0
    rows = np.asarray(embeddings, np.float32)
    sums = np.zeros((len(names), rows.shape[1]), np.float32)
    np.add.at(sums, which, rows)
    scores = rows @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)).T
    own = sums[which] - rows
    scores[np.arange(len(rows)), which] = (rows * own).sum(axis=1) / np.linalg.norm(own, axis=1).clip(1e-12)
    right = (scores.argmax(axis=1) == which)[counts[which] > 1]
    chance = 1 / len(names)
    return float(max(0.0, (right.mean() - chance) / (1 - chance))) if len(right) else 0.0


def stability(labels: Int[np.ndarray, "n"], earlier: Int[np.ndarray, "n"]) -> float:
    """Return how much of one labelling is in another, 0..1: their BCubed F, outliers counting as clusters of one.

    >>> stability(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])), stability(np.array([0, 0]), np.array([0, -1]))
    (1.0, 0.6666666666666666)
    """
    return label_quality(labels, np.where(earlier < 0, earlier.max(initial=0) + 1 + np.arange(len(earlier)), earlier))[
        "bcubed_f"
    ]


def warning_signs(measures: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return what the newest of the epochs' measures warn of, each in one line with the key to turn, by its name.

    Args:
        measures: of the labels of every epoch so far, at least one; a measure that is not there warns of nothing.
    """
    newest, found = measures[-1], dict[str, str]()
    if (share := newest.get("refined_share", 0.0)) > MOST_REFINED:
        found["refined_share"] = (
            f"refinement leaves out {share:.0%} of the images: its local clusters speak against the clusters across "
            "cameras; try refine.nodes=one or none"
        )
    first = next((epoch["outlier_share"] for epoch in measures if "outlier_share" in epoch), 0.0)
    if (share := newest.get("outlier_share", 0.0)) > max(MOST_OUTLIERS, first + OUTLIER_GROWTH):
        found["outlier_share"] = (
            f"outliers grow, from {first:.0%} to {share:.0%} of the images; loosen refine.method (its eps, or their"
            " number)"
        )
    if (probe := newest.get("camera_probe", 0.0)) > MOST_PROBE:
        found["camera_probe"] = (
            f"embeddings separate by camera (a probe tells it, {probe:.0%} of the way from chance to always); "
            "try refine.camera_alignment=whiten, or centre"
        )
    elif (span := newest.get("camera_span", 1.0)) < LEAST_SPAN:
        found["camera_span"] = (
            f"only {span:.0%} of the clusters span cameras; try refine.camera_aware={{own_k1: 5, other_k1: 5, "
            "own_k2: 2, other_k2: 2}, or refine.camera_alignment=whiten"
        )
    return found
