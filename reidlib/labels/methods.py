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
from reidlib.labels.linkage import linkage
from reidlib.labels.selfpaced import DEFAULT_GAP, self_paced

GRAPH_METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = {
    "bottom_up": bottom_up,
    "dbscan": dbscan,
    "linkage": linkage,
    "self_paced": self_paced,
}
"""Methods on the sparse Jaccard graph: method(distances, **settings) -> labels; bottom_up takes `previous` too."""

EMBEDDING_METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = {"infomap": infomap, "kmeans": kmeans}
"""Methods on the embeddings: method(embeddings, seed=seed, **settings) -> labels; infomap takes a `search` too."""

METHODS: dict[str, Callable[..., Int32[np.ndarray, "n"]]] = GRAPH_METHODS | EMBEDDING_METHODS

GIVEN = ("distances", "embeddings", "seed", "search", "previous")
"""What a method is given beside its settings."""

_PARAMETER_TO_MOVE = {
    "bottom_up": ("start_share", "merge_share", "end_share"),
    "dbscan": ("eps", "quantile"),
    "linkage": ("n_clusters", "images_per_cluster", "distance_threshold", "quantile"),
    "self_paced": ("eps",),
    "infomap": ("min_similarity",),
    "kmeans": ("n_clusters", "images_per_cluster"),
}


def takes(name: str, what: str) -> bool:
    """Whether a method takes this of what is `GIVEN`.

    >>> takes("infomap", "search"), takes("kmeans", "search"), takes("bottom_up", "previous")
    (True, False, True)
    """
    return what in inspect.signature(METHODS[name]).parameters


def checked_method(method: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method's name and settings, both known.

    Raises:
        ValueError: naming the methods, or the settings, that there are.
    """
    settings = dict(method)
    name = settings.pop("name", None)
    if name not in METHODS:
        raise ValueError(f"clustering method: expected a name among {sorted(METHODS)}, found {name!r}")
    parameters = inspect.signature(METHODS[name]).parameters
    known = {key: value.default for key, value in parameters.items() if key not in GIVEN}
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"{name}: unknown setting {', '.join(unknown)}; known: {', '.join(known)}")
    if missing := [key for key, default in known.items() if default is inspect.Parameter.empty and key not in settings]:
        raise ValueError(f"{name}: missing setting {', '.join(missing)}; known: {', '.join(known)}")
    return name, settings


def parameter_to_move(name: str, settings: Mapping[str, Any]) -> str:
    """The parameter that moves this method's number of clusters."""
    given = [key for key in _PARAMETER_TO_MOVE[name] if settings.get(key) is not None]
    key = given[0] if given else _PARAMETER_TO_MOVE[name][0]
    return f"{name}'s {key} (now {settings.get(key, 'its default')})"


def radius(name: str, settings: Mapping[str, Any]) -> float:
    """The largest distance that the method looks at, 1 where it must see them all."""
    eps = settings.get("eps")
    if name not in ("dbscan", "self_paced") or not isinstance(eps, int | float):
        return 1.0
    gap = settings.get("gap", DEFAULT_GAP) if name == "self_paced" else 0.0
    return min(1.0, float(eps) + float(gap))
