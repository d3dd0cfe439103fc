"""DBSCAN on the sparse distance graph, and an eps chosen from the data."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int, Int32
from pydantic import Field
from scipy import sparse

from reidlib.labels import constraint_kernels
from reidlib.labels.constraints import Constraints, apart_lists
from reidlib.labels.graphs import Distances, graph_arrays, kth_distances
from reidlib.labels.numbering import number_clusters
from reidlib.settings import Count

AUTO_EPS_RANGE = (0.4, 0.7)
Eps = Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]


def dbscan(
    distances: Distances, *, min_samples: Count, eps: Eps, constraints: Constraints | None = None
) -> Int32[np.ndarray, "n"]:
    """Density clusters [Ester et al., KDD 1996] of the pairs within ``eps``, by scikit-learn on the sparse graph.

    Clusters are numbered in the order of their first core points; -1 = outlier. The pairs beyond eps, as float32, are
    left out beforehand, so that memory and time grow with those within: a tenth of a second for 12,936 images late in
    training, beside scikit-learn's import.

    Args:
        distances: the sparse graph; it must hold every pair within eps.
        min_samples: rows within eps, itself included, that make a row a core point.
        eps: a distance in (0, 1), or "auto" (see ``choose_eps``).
        constraints: rows that belong together and groups kept apart, see ``constrained_dbscan``.
    """
    if constraints is not None:
        eps = resolve_eps(distances, min_samples=min_samples, eps=eps)
        return constrained_dbscan(distances, constraints, min_samples=min_samples, eps=eps)
    from sklearn.cluster import DBSCAN

    radius = np.float32(resolve_eps(distances, min_samples=min_samples, eps=eps))
    starts, columns, values = graph_arrays(distances)
    within = np.flatnonzero(values <= radius)
    nothing = np.zeros(len(within), np.float32)  # distances as good as any within eps, and need not be sorted
    near = sparse.csr_array((nothing, columns[within], np.searchsorted(within, starts)), shape=distances.shape)
    return DBSCAN(eps=1.0, min_samples=min_samples, metric="precomputed").fit(near).labels_.astype(np.int32)


def constrained_dbscan(
    distances: Distances, constraints: Constraints, *, min_samples: int, eps: float
) -> Int32[np.ndarray, "n"]:
    """Density clusters of groups of rows, none of which holds two groups that are kept apart.

    A group is one node, as far from another as their nearest rows are, and weighs as much as it has rows. Nodes whose
    neighbours within eps, itself included, weigh min_samples or more are core nodes. Core nodes within eps of each
    other are joined in the order of their distance (equal ones in the order of their first rows), unless that would
    join nodes kept apart. A node that is no core goes, in the order of the nodes, to the first cluster that has a core
    node within eps and nothing that it is kept apart from. A node of several rows that is in no cluster then is one
    by itself. Where nothing is kept apart, these are the clusters of scikit-learn's DBSCAN with ``sample_weight`` on
    the nodes, but for those of one node.

    Cost: a sort of the pairs within eps, and for each that joins or would join clusters, a look at what the one of
    them is kept apart from that has less to look at.

    Returns:
        int32 labels numbered by first appearance, -1 = outlier.
    """
    nodes = node_graph(distances, constraints.groups, furthest=np.float32(eps))
    starts, columns, values = graph_arrays(nodes)
    sizes, rows = constraints.sizes, np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    core = sizes + np.bincount(rows, sizes[columns], minlength=len(sizes)) >= min_samples
    apart = apart_lists(constraints.apart, nodes=len(sizes))
    pairs = np.flatnonzero((rows < columns) & core[rows] & core[columns])
    pairs = pairs[np.argsort(values[pairs], kind="stable")]
    clusters = np.arange(len(sizes), dtype=np.int32)
    constraint_kernels.join_unless_apart(rows[pairs].astype(np.int32), columns[pairs], clusters, *apart)
    clusters[~core] = -1
    constraint_kernels.give_borders(starts, columns, core, clusters, *apart)
    by_itself = (clusters < 0) & (sizes > 1)
    clusters[by_itself] = np.flatnonzero(by_itself)
    return number_clusters(clusters[constraints.groups])


def node_graph(distances: Distances, groups: Int[np.ndarray, "n"], *, furthest: np.float32) -> sparse.csr_array:
    """Return the distances within `furthest` between groups of rows, those of their nearest rows; no diagonal."""
    starts, columns, values = graph_arrays(distances)
    first, second = np.repeat(groups, np.diff(starts)), groups[columns]
    within = np.flatnonzero((values <= furthest) & (first != second))
    first, second, values = first[within], second[within], values[within]
    order = np.lexsort((values, second, first))
    first, second, values = first[order], second[order], values[order]
    new = np.flatnonzero(np.diff(first, prepend=-1) | np.diff(second, prepend=-1))
    nodes = int(groups.max(initial=-1)) + 1
    pointers = np.searchsorted(first[new], np.arange(nodes + 1))
    return sparse.csr_array((values[new], second[new], pointers), shape=(nodes, nodes))


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
