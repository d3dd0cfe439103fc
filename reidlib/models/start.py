"""The networks that training starts from: one, or another for the stage across cameras."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reidlib.models.architecture import Architecture
from reidlib.models.embedder import Embedder, new_embedder
from reidlib.models.weights import load_weights
from reidlib.settings import arguments


@dataclass(frozen=True, kw_only=True)
class Across:
    """Another network for the stage across cameras, where that starts from the initial weights.

    Attributes:
        backbone: as `model.backbone`; all else is as `model` says.
        weights: as `extract.weights`.
    """

    backbone: str
    weights: str


def start_networks(
    architecture: Architecture,
    *,
    seed: int,
    folder: Path,
    weights: str,
    strict: bool = True,
    across: Mapping[str, Any] | None = None,
) -> dict[str, Embedder]:
    """Return the starting network under the name "" and, where there is another across cameras, that as "across".

    Args:
        architecture: of the network.
        seed: of weights that are drawn.
        folder: where weight files lie.
        weights: see `load_weights`.
        strict: likewise.
        across: settings of `Across`; None for one network.

    Raises:
        ValueError: as `load_weights`, and where settings do not fit.
    """
    wanted = {"": (architecture, weights)}
    if across is not None:
        other = Across(**arguments(across, of=Across, where="extract.across"))
        wanted["across"] = (replace(architecture, backbone=other.backbone), other.weights)
    networks = {}
    for name, (shape, source) in wanted.items():
        networks[name] = new_embedder(shape, seed=seed)
        try:
            load_weights(networks[name], folder=folder, weights=source, strict=strict)
        except ValueError as error:
            if name != "across":
                raise
            raise ValueError(
                f"extract.across (the network across cameras, {shape.backbone}): {error}. Without one of its own: "
                "extract.across=null"
            ) from error
    return networks
