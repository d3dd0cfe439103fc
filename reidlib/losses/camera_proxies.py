"""Camera-aware proxies: one vector per cluster and camera [Wang et al., AAAI 2021; Wang et al., TIP 2022]."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.labels.centres import cluster_centres
from reidlib.losses.centres import move_centres
from reidlib.losses.softmax import memory_loss
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.settings import Count, Epochs, NotNegative, Positive, Share

ONLINE_POSITIVES = 3
ONLINE_BALANCE = 0.15


class CameraProxies(Term):
    """Contrast inside a camera and across cameras, of samples and proxies, the vectors of (cluster, camera) pairs.

    CAP [Wang et al., AAAI 2021, arXiv:2012.10674]: intra + cross_weight * inter. Intra is the cross-entropy over the
    proxies of the sample's camera. Inter (`association_loss`) draws the sample to the proxies of its cluster on other
    cameras, away from the `hardest` most similar proxies of other clusters; 0 where there are no such cameras. Each
    sample in turn then moves its proxy, as in `ClusterMemory`, and every epoch begins with normalised means.

    With `online`, O2CAP [Wang et al., TIP 2022, arXiv:2201.05820]: cross_weight * (offline + online) instead, once
    cross_from_epoch is reached (1 and 0 in the paper's code). Offline is inter with all proxies of the cluster as
    positives. Online ranks proxies p by .15 * q p + .85 * o p, o being the sample's own proxy: of the best proxy of
    each camera the best 3 are positives, and of all others the `hardest` best are negatives.

    Deviations: means over the batch, where the papers sum the cameras' means; CAP's code has the own camera's proxy
    among the positives, its text and this have not.

    Attributes:
        centres: float32 (P, D), unit-norm rows.
        clusters: int64 (P,), of each proxy.
        cameras: int64 (P,), of each proxy.
        known_cameras: int64, ascending.
    """

    centres: Tensor
    clusters: Tensor
    cameras: Tensor
    known_cameras: Tensor

    def __init__(
        self,
        *,
        temperature: Positive = 0.07,
        momentum: Share = 0.2,
        hardest: Count = 50,
        cross_weight: NotNegative = 0.5,
        cross_from_epoch: Epochs = 5,
        online: bool = False,
    ) -> None:
        """Hold no proxy yet.

        Args:
            temperature: of the softmax over cosines.
            momentum: share of the old vector that a sample leaves.
            hardest: how many proxies a sample is drawn away from across cameras.
            cross_weight: of what is across cameras.
            cross_from_epoch: the epoch (from 0) from which on it counts.
            online: whether proxies are associated online too.
        """
        super().__init__()
        self.temperature, self.momentum, self.hardest = temperature, momentum, hardest
        self.cross_weight, self.cross_from_epoch, self.online = cross_weight, cross_from_epoch, online
        self.register_buffer("centres", torch.zeros(0, 0))
        for name in ("clusters", "cameras", "known_cameras"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def begin(self, start: EpochStart) -> None:
        """EpochStart every proxy at the normalised mean of its members' embeddings."""
        members = np.flatnonzero(start.labels >= 0)
        own = np.stack([start.labels[members], start.cameras[members]]).astype(np.int64)
        pairs, which = np.unique(own, axis=1, return_inverse=True)
        self.centres = torch.from_numpy(cluster_centres(start.embeddings[members], which.reshape(-1))).to(start.device)
        found = (*pairs, np.unique(pairs[1]))
        self.clusters, self.cameras, self.known_cameras = (torch.from_numpy(part).to(start.device) for part in found)

    def scores(self, features: Float[Tensor, "b d"]) -> Float32[Tensor, "b proxies"]:
        """Return the cosine of every unit-norm feature to every proxy, in float32 inside autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.float(), self.centres)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        scores = self.scores(batch.first.embeddings)
        labels, cameras = on_device(scores, batch.labels), on_device(scores, batch.cameras)
        own = self._proxies(labels, cameras)
        across = batch.epoch >= self.cross_from_epoch
        total = scores.new_zeros(())
        if not (across and self.online):
            total = memory_loss(own_camera_only(scores, self.cameras, batch.cameras), own, temperature=self.temperature)
        if across:
            total = total + self.cross_weight * self._offline(scores, labels, cameras)
        if across and self.online:
            total = total + self.cross_weight * self._online(scores, own)
        return total

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """Let the samples of the batch move their proxies, in the order of the batch."""
        pairs, which = np.unique(np.stack([batch.labels, batch.cameras]), axis=1, return_inverse=True)
        rows = self._proxies(*(on_device(self.centres, part) for part in pairs))
        moving = self.centres.index_select(0, rows)
        move_centres(moving, batch.first.embeddings, which.reshape(-1), momentum=self.momentum)
        self.centres.index_copy_(0, rows, moving)

    def _proxies(self, labels: Int64[Tensor, "b"], cameras: Int64[Tensor, "b"]) -> Int64[Tensor, "b"]:
        """Return the proxies of (cluster, camera) pairs."""
        return ((labels[:, None] == self.clusters) & (cameras[:, None] == self.cameras)).long().argmax(dim=1)

    def _offline(
        self, scores: Float32[Tensor, "b proxies"], labels: Int64[Tensor, "b"], cameras: Int64[Tensor, "b"]
    ) -> Float32[Tensor, ""]:
        same = labels[:, None] == self.clusters
        wanted = same if self.online else same & (cameras[:, None] != self.cameras)
        some = wanted.any(dim=1)
        others = scores.detach().masked_fill(same, -torch.inf)
        positive = wanted | (same & ~some[:, None])  # a loss of 0 is the product of a finite one
        return (self._association(scores, positive, others) * some).mean()

    def _online(self, scores: Float32[Tensor, "b proxies"], own: Int64[Tensor, "b"]) -> Float32[Tensor, ""]:
        nearness = torch.lerp(self.scores(self.centres[own]), scores.detach(), ONLINE_BALANCE)
        best = [nearness.masked_fill(self.cameras != camera, -torch.inf).argmax(1) for camera in self.known_cameras]
        of_cameras = torch.stack(best, dim=1)
        picked = nearness.gather(1, of_cameras).topk(min(ONLINE_POSITIVES, len(best))).indices
        positive = torch.zeros_like(nearness, dtype=torch.bool).scatter(1, of_cameras.gather(1, picked), value=True)
        return self._association(scores, positive, nearness.masked_fill(positive, -torch.inf)).mean()

    def _association(self, scores: Tensor, positive: Tensor, nearness: Tensor) -> Float32[Tensor, "b"]:
        return association_loss(scores, positive, nearness, hardest=self.hardest, temperature=self.temperature)


def association_loss(
    scores: Float[Tensor, "b proxies"],
    positive: Bool[Tensor, "b proxies"],
    nearness: Float[Tensor, "b proxies"],
    *,
    hardest: int,
    temperature: float,
) -> Float[Tensor, "b"]:
    """Return for each sample -mean_P log(exp(s_p / t) / sum_{P and N} exp(s / t)), P its positives, N its negatives.

    Args:
        scores: cosines.
        positive: P, at least one to a sample.
        nearness: by which the `hardest` highest are N; -inf for those that cannot be.
        hardest: how many negatives, fewer where there are not so many.
        temperature: above 0.
    """
    highest = nearness.topk(min(hardest, nearness.shape[1])).indices
    negative = torch.zeros_like(positive).scatter(1, highest, value=True) & ~nearness.isneginf()
    chances = (scores / temperature).masked_fill(~(positive | negative), -torch.inf).log_softmax(dim=1)
    return -chances.masked_fill(~positive, 0).sum(dim=1) / positive.sum(dim=1)
