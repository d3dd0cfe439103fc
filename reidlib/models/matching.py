"""Which tensor of a state dict goes where in an embedder: by its name or, where names differ, by its place."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from reidlib.files import listed

State = Mapping[str, Tensor]

# Heads that stand beside a network's layers, and the exponent of GeM where ours is fixed.
HEADS = ("fc", "_fc", "fc1", "fc2", "embed_fc", "classifier", "head")
BESIDE = (*(f"backbone.{head}." for head in HEADS), "pool.power")


class Match(NamedTuple):
    """What of a state dict fits an embedder.

    Attributes:
        tensors: what has the name and the shape of one of the embedder's.
        misfits: for a message, what is missing, of another shape or unknown; "" where all that matters fits.
        coverage: for a message, how much of the backbone and the neck is in `tensors`.
        heads: the names of what belongs to heads.
    """

    tensors: dict[str, Tensor]
    misfits: str
    coverage: str
    heads: list[str]


def match_tensors(state: State, ours: State, *, added: tuple[str, ...]) -> Match:
    """Match tensors by name and shape or, where names leave something over, by order if that leaves nothing.

    Args:
        state: the tensors of a file by the names of an embedder.
        ours: those of the embedder.
        added: what the names of modules begin with that were added to the backbone, which files need not have.
    """
    match = _match_names(state, ours, added)
    renamed = rename_by_order(state, ours, added=added) if match.misfits else None
    if renamed is None:
        return match
    match = _match_names(renamed, ours, added)
    return match._replace(coverage=f"{match.coverage} by order, shape and role, as its names are others")


def _match_names(state: State, ours: State, added: tuple[str, ...]) -> Match:
    backbone = [name for name in ours if _is_of_backbone(name)]
    tensors = {name: state[name] for name in ours if name in state and state[name].shape == ours[name].shape}
    misfits = {
        "missing": [name for name in backbone if name not in state and not name.startswith(added)],
        "of another shape": [name for name in ours if name in state and name not in tensors],
        "unknown": [name for name in state if name not in ours and not name.startswith(BESIDE)],
    }
    named = (
        f"{reason} {listed([name.removeprefix('backbone.') for name in names], most=5)}"
        for reason, names in misfits.items()
    )
    new = sum(name not in tensors and name.startswith(added) for name in backbone)
    coverage = (
        f"{sum(name in tensors for name in backbone)} of {len(backbone)} tensors of the backbone"
        + (f" ({new} more are of modules that were added and keep their initial values)" if new else "")
        + (" and the neck" if any(name.startswith("neck.") for name in tensors) else "")
    )
    heads = [name.removeprefix("backbone.") for name in state if name not in ours]
    return Match(tensors, "; ".join(named) if any(misfits.values()) else "", coverage, heads)


def rename_by_order(state: State, ours: State, *, added: tuple[str, ...]) -> dict[str, Tensor] | None:
    """Give the tensors of a backbone the names of those at their places in ours; arguments as `match_tensors`.

    The two must match one to one in order, shape and role, which is the last part of the name (weight, running_mean);
    the counters of batch norms do not matter, and heads may stand beside. A name of ours at another place is no match.

    Returns:
        The state dict with the names of `ours`, None where they do not match.
    """
    theirs = [name for name in state if _is_of_backbone(name) and not name.startswith(BESIDE)]
    names = [name for name in ours if _is_of_backbone(name) and not name.startswith(added)]
    pairs = list(zip(theirs, names, strict=False))
    if len(theirs) != len(names) or not all(
        their_name.rpartition(".")[2] == name.rpartition(".")[2]
        and state[their_name].shape == ours[name].shape
        and (their_name == name or their_name not in ours)
        for their_name, name in pairs
    ):
        return None
    beside = {name: state[name] for name in state if not name.startswith("backbone.") or name.startswith(BESIDE)}
    return {name: state[their_name] for their_name, name in pairs} | beside


def _is_of_backbone(name: str) -> bool:
    return name.startswith("backbone.") and not name.endswith("num_batches_tracked")
