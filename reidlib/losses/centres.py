"""The vectors of clusters, and how the samples of a batch move them one after another."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor

from reidlib.batches.residence import on_device

SMALLEST_NORM = 1e-12


@torch.no_grad()
def move_centres(
    centres: Float32[Tensor, "clusters d"],
    features: Float[Tensor, "b d"],
    labels: Integer[np.ndarray, "b"],
    *,
    momentum: float,
    hard: bool = False,
) -> None:
    """Move the vectors of a batch's clusters in place, as if its samples came one by one.

    m <- normalise(momentum * m + (1 - momentum) * q), in the order of the batch [Dai et al., arXiv:2103.11568].
    Samples of different clusters do not meet, so the k-th samples of all clusters move their vectors at once:
    as many rounds as the most frequent label has samples, bit-equal to the sequential loop. The rounds are planned on
    the CPU, where the sampler drew the labels, and nothing waits for the device.

    Args:
        centres: unit-norm rows.
        features: unit-norm rows; on the same device.
        labels: of the samples, 0..C-1.
        momentum: share of the old vector that a sample leaves, 0..1.
        hard: per cluster, only the sample least similar to its vector moves it (the first of equals).

    Raises:
        ValueError: a label that is no cluster, -1 included.
    """
    if len(labels) == 0:
        return
    if labels.min() < 0 or labels.max() >= len(centres):
        raise ValueError(
            f"move_centres: expected labels 0..{len(centres) - 1}, got {labels.min()}..{labels.max()}; "
            "outliers have no cluster to move"
        )
    order, clusters, counts = plan_rounds(labels)
    features = features.detach().float()
    if hard:
        chosen, counts = _least_similar(centres, features, labels, order, counts), counts[:1]
    else:
        chosen = on_device(features, order)
    incoming = features.index_select(0, chosen).mul_(1 - momentum)
    rows = on_device(features, clusters)
    moving = centres.index_select(0, rows)
    start = 0
    for count in counts.tolist():
        part = moving[:count].mul_(momentum).add_(incoming[start : start + count])
        part.div_(torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM))
        start += count
    centres.index_copy_(0, rows, moving)


def _least_similar(
    centres: Float32[Tensor, "clusters d"],
    features: Float32[Tensor, "b d"],
    labels: Integer[np.ndarray, "b"],
    order: Integer[np.ndarray, "b"],
    counts: Integer[np.ndarray, "rounds"],
) -> Integer[Tensor, "groups"]:
    """Return for each cluster of the plan its sample least similar to it, the first of equals."""
    table = np.repeat(order[: counts[0], None], len(counts), axis=1)  # rows shorter than the longest repeat a sample
    start = 0
    for turn, count in enumerate(counts.tolist()):
        table[:count, turn] = order[start : start + count]
        start += count
    samples = on_device(features, table)
    own = centres.index_select(0, on_device(features, labels.astype(np.int64)))
    similarities = torch.linalg.vecdot(features, own)[samples]
    least = similarities == similarities.amin(dim=1, keepdim=True)
    return torch.where(least, samples, len(order)).amin(dim=1)


def plan_rounds(
    labels: Integer[np.ndarray, "b"],
) -> tuple[Integer[np.ndarray, "b"], Integer[np.ndarray, "groups"], Integer[np.ndarray, "rounds"]]:
    """Split a batch into rounds: round k holds the k-th sample of every label that has one.

    Returns:
        order: positions of the batch, round after round; inside a round in the order of `groups`.
        groups: the labels of the batch, the most frequent first, so that round k is about the first counts[k].
        counts: number of samples in each round, decreasing.
    """
    groups, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_size = np.argsort(-sizes, kind="stable")
    slot = np.empty_like(by_size)
    slot[by_size] = np.arange(len(by_size))
    which = slot[which]
    by_group = np.argsort(which, kind="stable")
    sizes = sizes[by_size]
    starts = np.cumsum(sizes) - sizes
    turn = np.empty_like(by_group)
    turn[by_group] = np.arange(len(labels)) - np.repeat(starts, sizes)
    return np.lexsort((which, turn)), groups[by_size], np.bincount(turn)
