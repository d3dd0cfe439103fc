"""Centre loss: the features of a cluster are drawn to its centre [Wen et al., ECCV 2016]."""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from reidlib.batches.residence import on_device
from reidlib.losses.term import Batch, EpochStart, Term
from reidlib.settings import Share


class Centre(Term):
    """Half the squared distance before the neck to the cluster's centre, which follows the batches.

    After a batch with n samples x of a cluster, c <- c - step * sum(c - x) / (1 + n): the paper's rule with its step of
    .5, whatever the optimiser. The papers' weight in the sum of losses is .0005 in re-identification [Luo et al.,
    CVPRW 2019, arXiv:1903.07071]. Two deviations: the loss is the mean over images and parts, not the sum; and a centre
    starts not at random, but at the mean of the first samples that are met, which cost nothing themselves.

    Attributes:
        centres: float32 (C, D), the parts side by side.
        met: bool (C,), whether a sample of the cluster has been met.
    """

    centres: Tensor
    met: Tensor

    def __init__(self, *, step: Share = 0.5) -> None:
        """Hold no centre yet.

        Args:
            step: how far a batch moves its clusters' centres.
        """
        super().__init__()
        self.step = step
        self.register_buffer("centres", torch.zeros(0, 0))
        self.register_buffer("met", torch.zeros(0, dtype=torch.bool))

    def begin(self, start: EpochStart) -> None:
        """Forget the centres where labels changed."""
        shape = (start.classes, start.embeddings.shape[1])
        if start.renewed or self.centres.shape != shape:
            self.centres = torch.zeros(shape, device=start.device)
            self.met = torch.zeros(len(self.centres), dtype=torch.bool, device=start.device)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        labels = on_device(self.centres, batch.labels)
        away = batch.first.pooled.flatten(1).float() - self.centres[labels]
        counted = away.square().sum(dim=1) * self.met[labels]
        return counted.mean() / 2 / batch.first.pooled.shape[1]

    def update(self, batch: Batch) -> None:
        """Let the samples of the batch move their clusters' centres."""
        pooled = batch.first.pooled.flatten(1).float()
        present, counts = np.unique(batch.labels, return_counts=True)
        members = on_device(pooled, (batch.labels == present[:, None]).astype(np.float32))
        rows, sizes = on_device(pooled, present), on_device(pooled, counts.astype(np.float32))[:, None]
        sums, old = members @ pooled, self.centres[rows]
        moved = old - self.step * (sizes * old - sums) / (1 + sizes)
        self.centres.index_copy_(0, rows, torch.where(self.met[rows][:, None], moved, sums / sizes))
        self.met.index_fill_(0, rows, True)
