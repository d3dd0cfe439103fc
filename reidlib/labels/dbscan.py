"""DBSCAN on the sparse distance graph, and an eps chosen from the data."""

from typing import Literal

import numpy as np
from jaxtyping import Int32

from reidlib.labels import kernels
from reidlib.labels.graphs import Distances, graph_arrays, kth_distances, pair_quantile

LEAST_EPS = 1e-6
GREATEST_EPS = float(np.nextafter(np.float32(1), np.float32(0)))
AUTO_EPS_RANGE = (0.4, 0.7)


def dbscan(
    distances: Distances,
    *,
    min_samples: int,
    eps: float | int | Literal["auto"] | None = None,
    quantile: float | int | None = None,
) -> Int32[np.ndarray, "n"]:
    """Density clusters [Ester et al., KDD 1996] of the pairs within ``eps``.

    The labels (-1 = outlier), their numbers included, are those of scikit-learn's DBSCAN(metric="precomputed") on the
    dense matrix of the same float32 distances: clusters are numbered in the order of their first core points. Time and
    memory grow with the stored pairs.

    Args:
        distances: the sparse graph; it must hold every pair within eps.
        min_samples: rows within eps, itself included, that make a row a core point.
        eps: a distance in (0, 1), or "auto" (see ``choose_eps``). Exactly one of eps and quantile.
        quantile: eps as a quantile of all pairwise distances.

    Raises:
        ValueError: as ``resolve_eps``.
    """
    eps = resolve_eps(distances, min_samples=min_samples, eps=eps, quantile=quantile)
    starts, columns, values = graph_arrays(distances)
    core = kernels.core_points(starts, columns, values, np.float32(eps), min_samples)
    return kernels.dbscan(starts, columns, values, np.float32(eps), core)


def resolve_eps(
    distances: Distances,
    *,
    min_samples: int,
    eps: float | int | Literal["auto"] | None = None,
    quantile: float | int | None = None,
) -> float:
    """The eps that the settings mean on this graph: itself, chosen ("auto"), or a quantile.

    A quantile that falls on distance 0 or 1 gives the nearest eps inside: duplicates alone, or every stored pair.

    Raises:
        ValueError: where not exactly one of the two is given, or eps is outside (0, 1): pairs at 1 are not stored.
    """
    if (eps is None) == (quantile is None):
        raise ValueError(f"dbscan: expected exactly one of eps and quantile, found eps={eps}, quantile={quantile}")
    if min_samples < 1:
        raise ValueError(f"dbscan: min_samples: expected at least 1, found {min_samples}")
    if eps == "auto":
        return choose_eps(distances, min_samples=min_samples)
    if isinstance(eps, str):
        raise ValueError(f"dbscan: eps: expected a distance in (0, 1) or 'auto', found {eps!r}")
    if eps is not None:
        if not 0 < eps < 1:
            raise ValueError(f"dbscan: eps: expected a distance in (0, 1), found {eps}; unrelated pairs are all at 1")
        return float(eps)
    return min(max(pair_quantile(distances, quantile=quantile or 0.0), LEAST_EPS), GREATEST_EPS)


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
