"""Labels that cannot train anything are refused here, with what to change."""

import numpy as np
from jaxtyping import Int

from reidlib.labels.graphs import Distances, kth_distances

FEW_IMAGES = 5000  # below which a person may have fewer images than the neighbours that the papers' k1 looks at


def check_labels(labels: Int[np.ndarray, "n"], *, parameter: str, distances: Distances | None = None) -> None:
    """Refuse labels of no cluster, of one cluster, or with more than 90 % outliers.

    Raises:
        ValueError: naming the parameter to move and, where the graph is given that the clusters were made on, the 10,
            50 and 90 % quantiles of the rows' nearest-neighbour distances.
    """
    n = len(labels)
    clusters = len(np.unique(labels[labels >= 0]))
    outliers = int((labels < 0).sum())
    if clusters == 0:
        problem = f"no cluster at all, all {n} rows are outliers"
    elif clusters == 1:
        problem = f"one cluster alone ({n - outliers} of {n} rows), there is nothing to tell apart"
    elif outliers > 0.9 * n:
        problem = f"{outliers} of {n} rows are outliers ({100 * outliers / n:.1f} %), more than 90 %"
    else:
        return
    near = ""
    if distances is not None and distances.shape[0]:
        low, middle, high = np.quantile(kth_distances(distances, k=2), [0.1, 0.5, 0.9])
        near = (
            f" (each row's distance to its nearest other row, 1 where none is stored: 10 % are within {low:.3f}, "
            f"50 % within {middle:.3f}, 90 % within {high:.3f})"
        )
    few = (
        "; where there are few images of each individual, look at no more neighbours than refine.k1=8 and refine.k2=3 "
        "(own_k1 and other_k1 of refine.camera_aware, where it is set), inside cameras cluster.k1=8 and cluster.k2=3"
    )
    raise ValueError(f"clustering: {problem}; move {parameter}{near}{few if n < FEW_IMAGES else ''}")
