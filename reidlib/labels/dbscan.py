"""DBSCAN on the sparse distance graph, and an eps chosen from the data."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int32
from pydantic import Field
from scipy import sparse

from reidlib.labels.graphs import Distances, graph_arrays, kth_distances
from reidlib.settings import Count

AUTO_EPS_RANGE = (0.4, 0.7)
Eps = Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]


def dbscan(distances: Distances, *, min_samples: Count, eps: Eps) -> Int32[np.ndarray, "n"]:
    """Density clusters [Ester et al., KDD 1996] of the pairs within ``eps``, by scikit-learn on the sparse graph.

    Clusters are numbered in the order of their first core points; -1 = outlier. The pairs beyond eps, as float32, are
    left out beforehand, so that memory and time grow with those within: a tenth of a second for 12,936 images late in
    training, beside scikit-learn's import.

    Args:
        distances: the sparse graph; it must hold every pair within eps.
        min_samples: rows within eps, itself included, that make a row a core point.
        eps: a distance in (0, 1), or "auto" (see ``choose_eps``).
    """
    from sklearn.cluster import DBSCAN

    radius = np.float32(resolve_eps(distances, min_samples=min_samples, eps=eps))
    starts, columns, values = graph_arrays(distances)
    within = np.flatnonzero(values <= radius)
    nothing = np.zeros(len(within), np.float32)  # distances as good as any within eps, and need not be sorted
    near = sparse.csr_array((nothing, columns[within], np.searchsorted(within, starts)), shape=distances.shape)
    return DBSCAN(eps=1.0, min_samples=min_samples, metric="precomputed").fit(near).labels_.astype(np.int32)


def resolve_eps(distances: Distances, *, min_samples: int, eps: Eps) -> float:
    """The eps that the setting means on this graph: itself, or chosen ("auto")."""
    return choose_eps(distances, min_samples=min_samples) if eps == "auto" else float(eps)


def choose_eps(distances: Distances, *, min_samples: int) -> float:
    """The eps of "auto": where three quarters of the rows are core points, no further than the published [0.4, 0.7].

    The k-distance curve holds each row's distance to its min_samples-th nearest row, itself counted: the eps from
    which it is a core point. Its 75 % quantile follows the data where they are hard, and stops short of the rows
    that chain clusters together. On clean data it is so small that it splits identities: there the lower
    bound holds, which clean data do not mind. The bounds are what is published for this distance across data sets.
    """
    curve = kth_distances(distances, k=min_samples)
    if len(curve) == 0:
        return AUTO_EPS_RANGE[1]
    return float(np.clip(np.quantile(curve.astype(np.float64), 0.75), *AUTO_EPS_RANGE))
