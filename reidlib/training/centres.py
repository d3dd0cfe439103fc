"""Memories of the clusters: tables of vectors that the batch is scored against and that the batch then updates.

Every memory is an nn.Module with persistent buffers and two verbs: `scores(features)`, differentiable in the features,
and `update(features, labels)`, called after the backward pass and outside autograd.
"""

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor, nn
from torch.nn import functional

from reidlib.images.distortion import on_device

SMALLEST_NORM = 1e-12


class ClusterMemory(nn.Module):
    """One vector per cluster, moved by every sample of the batch in its order.

    [Dai et al., Cluster Contrast, arXiv:2103.11568]: after the backward pass each sample of the batch replaces the
    vector of its cluster, m <- normalise(momentum * m + (1 - momentum) * q), in the order of the batch. With `hard`,
    per cluster and batch only the sample least similar to the vector does (the first of equals).

    Attributes:
        centres: float32 (C, D), unit-norm rows, cluster by cluster.
        cameras: int64 (C,), the camera of each cluster where clusters are local to cameras, else empty.
    """

    centres: Tensor
    cameras: Tensor

    def __init__(
        self,
        centres: Float[Tensor, "clusters dim"],
        *,
        momentum: float,
        hard: bool = False,
        cameras: Integer[Tensor, "clusters"] | None = None,
    ) -> None:
        """Hold a copy of the centres, which are normalised here.

        Raises:
            ValueError: a momentum outside 0..1, no cluster, or centres of norm zero or not finite.
        """
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"ClusterMemory: expected momentum 0..1, got {momentum}")
        if len(centres) == 0:
            raise ValueError("ClusterMemory: expected at least one cluster, got none; are all images outliers?")
        norms = torch.linalg.vector_norm(centres.float(), dim=1, keepdim=True)
        if not bool(((norms > SMALLEST_NORM) & norms.isfinite()).all()):
            raise ValueError(
                "ClusterMemory: expected centres of finite norm above 0; check the embeddings for NaN or 0"
            )
        none = torch.zeros(0, dtype=torch.int64, device=centres.device)
        self.momentum = momentum
        self.hard = hard
        self.register_buffer("centres", (centres / norms).float().contiguous().detach())
        self.register_buffer("cameras", none if cameras is None else cameras.to(torch.int64))

    @classmethod
    def from_embeddings(
        cls,
        embeddings: Float[np.ndarray, "n dim"],
        labels: Integer[np.ndarray, "n"],
        *,
        momentum: float,
        hard: bool = False,
        cameras: Integer[np.ndarray, "n"] | None = None,
    ) -> "ClusterMemory":
        """Start every cluster at the normalised mean of its members' embeddings.

        Args:
            embeddings: unit-norm rows.
            labels: clusters 0..C-1 without gaps, -1 = outlier.
            momentum: share of the old vector that an update keeps, 0..1.
            hard: update with the least similar sample only.
            cameras: of the images, where clusters are local to cameras; `scores` can then be kept to one camera.

        Raises:
            ValueError: a cluster number without members, or a cluster on two cameras where cameras are given.
        """
        members = np.flatnonzero(labels >= 0)
        of = labels[members].astype(np.int64)
        sizes = np.bincount(of)
        if (sizes == 0).any():
            raise ValueError(
                f"ClusterMemory: expected clusters 0..{len(sizes) - 1} without gaps, but cluster "
                f"{int(np.flatnonzero(sizes == 0)[0])} has no member; number the clusters by first appearance"
            )
        order = np.argsort(of, kind="stable")
        starts = np.concatenate([[0], np.cumsum(sizes)])
        sums = scipy.sparse.csr_array(
            (np.ones(len(members), np.float32), members[order], starts), shape=(len(sizes), len(labels))
        ) @ np.asarray(embeddings, np.float32)
        own = None if cameras is None else _cameras_of_clusters(of, cameras[members], len(sizes))
        return cls(torch.from_numpy(sums), momentum=momentum, hard=hard, cameras=own)

    def scores(
        self, features: Float[Tensor, "b dim"], cameras: Integer[Tensor, "b"] | None = None
    ) -> Float32[Tensor, "b clusters"]:
        """Return the cosine of every feature to every cluster, in float32 inside autocast too.

        Args:
            features: unit-norm rows; gradients flow into them and never into the memory.
            cameras: of the features; clusters of other cameras then score -inf, so that a softmax leaves them out.
                Needs a memory made with cameras.
        """
        with torch.autocast(features.device.type, enabled=False):
            scores = functional.linear(features.float(), self.centres)
        if cameras is None:
            return scores
        if len(self.cameras) == 0:
            raise ValueError("ClusterMemory.scores: this memory knows no cameras; make it with `cameras`")
        return scores.masked_fill(cameras.to(scores.device)[:, None] != self.cameras, -torch.inf)

    @torch.no_grad()
    def update(self, features: Float[Tensor, "b dim"], labels: Integer[Tensor, "b"]) -> None:
        """Move the clusters of a batch, as if its samples came one by one.

        Samples of different clusters do not meet, so the k-th samples of all clusters move their vectors at once:
        as many rounds as the most frequent label has samples, bit-equal to the sequential loop.

        Args:
            features: unit-norm rows; on the memory's device.
            labels: of the samples, 0..C-1. Best on the CPU, where the sampler drew them: the rounds are planned there,
                and nothing waits for the device. Labels on a device are fetched first, which waits once.

        Raises:
            ValueError: a label that is no cluster of the memory, -1 included.
        """
        if len(labels) == 0:
            return
        host = labels.cpu().numpy()
        if host.min() < 0 or host.max() >= len(self.centres):
            raise ValueError(
                f"ClusterMemory.update: expected labels 0..{len(self.centres) - 1}, got {host.min()}..{host.max()}; "
                "outliers have no cluster to update"
            )
        order, clusters, counts = plan_rounds(host)
        features = features.detach().float()
        if self.hard:
            chosen, counts = self._least_similar(features, host, order, counts), counts[:1]
        else:
            chosen = on_device(features, order)
        incoming = features.index_select(0, chosen).mul_(1 - self.momentum)
        rows = on_device(features, clusters)
        moving = self.centres.index_select(0, rows)
        start = 0
        for count in counts.tolist():
            part = moving[:count].mul_(self.momentum).add_(incoming[start : start + count])
            part.div_(torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp_min_(SMALLEST_NORM))
            start += count
        self.centres.index_copy_(0, rows, moving)

    def _least_similar(
        self, features: Float[Tensor, "b dim"], labels: np.ndarray, order: np.ndarray, counts: np.ndarray
    ) -> Integer[Tensor, "groups"]:
        """Return for each cluster of the plan its sample least similar to it, the first of equals."""
        table = np.repeat(
            order[: counts[0], None], len(counts), axis=1
        )  # rows shorter than the longest repeat a sample
        start = 0
        for turn, count in enumerate(counts.tolist()):
            table[:count, turn] = order[start : start + count]
            start += count
        samples = on_device(features, table)
        similarities = torch.linalg.vecdot(features, self.centres.index_select(0, on_device(features, labels)))[samples]
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


def _cameras_of_clusters(
    labels: Integer[np.ndarray, "members"], cameras: Integer[np.ndarray, "members"], clusters: int
) -> Tensor:
    own = np.zeros(clusters, np.int64)
    own[labels] = cameras
    strangers = np.flatnonzero(own[labels] != cameras)
    if len(strangers):
        label = int(labels[strangers[0]])
        raise ValueError(
            f"ClusterMemory: expected clusters of one camera each, but cluster {label} is on cameras "
            f"{np.unique(cameras[labels == label]).tolist()}; cluster camera by camera, or give no cameras"
        )
    return torch.from_numpy(own)
