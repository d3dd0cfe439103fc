"""The clusterings by name, and what their settings mean."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int32

from reidlib.labels.bottom_up import bottom_up
from reidlib.labels.dbscan import dbscan
from reidlib.labels.infomap_clusters import infomap
from reidlib.labels.kmeans import kmeans
from reidlib.labels.linkage import check_one_given, linkage
from reidlib.labels.selfpaced import check_radii, self_paced
from reidlib.settings import choice

METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = {
    "bottom_up": bottom_up,
    "dbscan": dbscan,
    "infomap": infomap,
    "kmeans": kmeans,
    "linkage": linkage,
    "self_paced": self_paced,
}
"""method(what it takes of `GIVEN`, **settings) -> labels, -1 = outlier."""

GIVEN = ("distances", "embeddings", "neighbours", "seed", "previous", "constraints")
"""What a method may take beside its settings: the sparse Jaccard graph, the rows, their nearest rows, a seed, the
labels of the epoch before, and what is known of pairs of rows."""

COUNT_KEYS: Mapping[str, tuple[str, ...]] = {
    "bottom_up": ("start_share", "merge_share", "end_share"),
    "dbscan": ("eps",),
    "linkage": ("n_clusters", "images_per_cluster", "distance_threshold", "quantile"),
    "self_paced": ("eps",),
    "infomap": ("min_similarity",),
    "kmeans": ("n_clusters", "images_per_cluster"),
}
"""The settings that move a method's number of clusters."""


def takes(name: str, what: str) -> bool:
    """Return whether a method takes this of what is `GIVEN`.

    >>> takes("infomap", "neighbours"), takes("kmeans", "neighbours"), takes("bottom_up", "previous")
    (True, False, True)
    """
    return what in inspect.signature(METHODS[name]).parameters


def check_constrained(name: str, *, where: str) -> None:
    """Raise a ValueError unless the method keeps constraints.

    >>> check_constrained("infomap", where="refine.method")
    Traceback (most recent call last):
    ValueError: refine.method: infomap keeps no constraints (tracklets, links); expected one of dbscan, linkage
    """
    if not takes(name, "constraints"):
        able = ", ".join(sorted(method for method in METHODS if takes(method, "constraints")))
        raise ValueError(f"{where}: {name} keeps no constraints (tracklets, links); expected one of {able}")


def check_method(method: Mapping[str, Any], *, where: str = "method") -> tuple[str, dict[str, Any]]:
    """Return the method's name and its settings, checked against its signature, defaults added.

    Raises:
        ValueError: naming the methods, or the settings, that there are; where not exactly one of several is given.
    """
    name, settings = choice(method, among=METHODS, where=where, given=GIVEN)
    if name in ("linkage", "kmeans"):
        check_one_given(f"{where}: {name}", {key: settings[key] for key in COUNT_KEYS[name]})
    if name == "self_paced" and settings["eps"] != "auto":
        check_radii(f"{where}: {name}", settings["eps"], settings["gap"])
    return name, settings


def parameter_to_move(method: Mapping[str, Any]) -> str:
    """Return the parameter that moves this method's number of clusters, for a message."""
    name, settings = check_method(method)
    key = next(key for key in COUNT_KEYS[name] if settings[key] is not None)
    return f"{name}'s {key} (now {settings[key]})"


def radius(settings: Mapping[str, Any]) -> float:
    """Return the largest distance that a method of these settings looks at, 1 where it must see them all."""
    eps = settings.get("eps")
    return min(1.0, eps + settings.get("gap", 0.0)) if isinstance(eps, int | float) else 1.0
