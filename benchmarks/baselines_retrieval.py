"""The obvious way to mAP, mINP and CMC, by the definition: sort every row, drop what is ignored, walk down the list.

This is what the published codes do (one argsort of the whole score matrix, then a loop over the queries), in float64.
"""

import numpy as np


def evaluate_by_sorting(
    scores: np.ndarray,
    *,
    query_identities: np.ndarray,
    gallery_identities: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    max_rank: int = 50,
) -> tuple[float, float, np.ndarray]:
    """Mean average precision, mean inverse negative penalty and CMC of a whole (queries, gallery) score matrix."""
    order = np.argsort(-scores, axis=1, kind="stable")
    precisions, penalties, found = [], [], np.zeros(max_rank, np.float64)
    for q, columns in enumerate(order):
        same = gallery_identities[columns] == query_identities[q]
        junk = gallery_identities[columns] == -1
        kept = ~(junk | (same & (gallery_cameras[columns] == query_cameras[q])))
        ranks = np.flatnonzero(same[kept]) + 1
        if query_identities[q] <= 0 or ranks.size == 0:
            continue
        # cumsum adds from the best rank down, as the definition reads
        precisions.append(np.cumsum(np.arange(1, ranks.size + 1) / ranks)[-1] / ranks.size)
        penalties.append(ranks.size / ranks[-1])
        found[ranks[0] - 1 :] += 1
    return float(np.mean(precisions)), float(np.mean(penalties)), found / len(precisions)
