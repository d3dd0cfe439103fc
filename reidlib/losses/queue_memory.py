"""Multi-queue Cluster Contrast: a ring of vectors per cluster, of which each iteration draws one to score against."""

import math
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Float32, Integer
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from reidlib.batches.residence import on_device
from reidlib.labels.centres import cluster_centres
from reidlib.losses.centres import move_centres, plan_rounds
from reidlib.losses.softmax import memory_loss
from reidlib.losses.term import Batch, EpochStart, Term, own_camera_only
from reidlib.settings import Count, Positive, Share


class QueueMemory(Term):
    """Cross-entropy of the cosines to one vector per cluster, drawn at random from the cluster's ring of them.

    Cluster Contrast [Dai et al., arXiv:2103.11568] with several vectors per cluster. Every epoch begins with rings full
    of the mean of the cluster's embeddings. Then each sample in turn overwrites its cluster's next slot by
    normalise(slot_momentum * old + (1 - slot_momentum) * q).

    A trained temperature is brought back into its range, where it has one, after every step of the optimiser. So it
    lies there wherever it is used, and its gradient is never cut off, not even on the bounds.

    Attributes:
        slots: float32 (C, Q, D), rows of norm 1 but for means that are left as they are.
        positions: int64 (C,), the slot of each ring that is overwritten next.
        cameras: int64 (C,), the camera of each cluster where clusters are local, else empty.
        temperature: a parameter where it is trained; it lasts over epochs.
    """

    slots: Tensor
    positions: Tensor
    cameras: Tensor
    temperature: float | nn.Parameter
    rate = 0.01

    def __init__(
        self,
        *,
        temperature: Positive = 0.05,
        trainable_temperature: bool = False,
        temperature_range: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None,
        length: Count = 16,
        slot_momentum: Share = 0.0,
        unit_start: bool = False,
    ) -> None:
        """Hold no cluster yet.

        Args:
            temperature: of the softmax over cosines; at first, where it is trained.
            trainable_temperature: whether the temperature is trained, at .01 of the learning rate.
            temperature_range: least and most that a trained temperature may be; None, as in the published code: any.
            length: of each ring, Q.
            slot_momentum: share of the old vector that a sample leaves; 0, as in the published code, leaves none (its
                text has .15).
            unit_start: whether the means that rings begin with are of norm 1; in the published code they are shorter.

        Raises:
            ValueError: a temperature to be trained from a value outside of its range.
        """
        super().__init__()
        least, most = temperature_range or (0.0, math.inf)
        if trainable_temperature and not least <= temperature <= most:
            raise ValueError(
                f"queue_memory: expected a temperature of {least} to {most}, where temperature_range keeps a trained "
                f"one, got {temperature}; change it, or set temperature_range to null"
            )
        self.temperature = nn.Parameter(torch.tensor(float(temperature))) if trainable_temperature else temperature
        self.temperature_range = temperature_range
        self.slot_momentum, self.unit_start = slot_momentum, unit_start
        self.register_buffer("slots", torch.zeros(0, length, 0))
        self.register_buffer("positions", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("cameras", torch.zeros(0, dtype=torch.int64))

    def begin(self, start: EpochStart) -> None:
        """Fill every cluster's ring with the mean of its members' embeddings."""
        means = cluster_centres(start.embeddings, start.labels, unit=self.unit_start)
        centres = torch.from_numpy(means).to(start.device)
        self.slots = centres[:, None].repeat(1, self.slots.shape[1], 1)
        self.positions = torch.zeros(len(centres), dtype=torch.int64, device=start.device)
        self.cameras = start.class_cameras

    def scores(
        self, features: Float[Tensor, "b d"], drawn: Integer[np.ndarray, "clusters"]
    ) -> Float32[Tensor, "b clusters"]:
        """Return the product of every unit-norm feature and the slot `drawn` of every cluster, in float32 always."""
        count, length, _ = self.slots.shape
        rows = on_device(self.slots, np.arange(count) * length + drawn)
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.float(), self.slots.flatten(0, 1).index_select(0, rows))

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss, against one slot of every cluster."""
        count, length, _ = self.slots.shape
        scores = self.scores(batch.first.embeddings, batch.generator.integers(length, size=count))
        scores = own_camera_only(scores, self.cameras, batch.cameras)
        return memory_loss(scores, on_device(scores, batch.labels), temperature=self.temperature)

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """Let the samples of the batch overwrite slots, in the order of the batch; bring the temperature into range.

        Which samples share a slot does not depend on the positions, so that is planned on the CPU, where the labels
        are, and the positions stay on the device.
        """
        if isinstance(self.temperature, nn.Parameter) and self.temperature_range is not None:
            self.temperature.clamp_(*self.temperature_range)
        count, length, _ = self.slots.shape
        order, _, counts = plan_rounds(batch.labels)
        ahead = np.empty_like(batch.labels)  # how many slots after the position each sample writes
        ahead[order] = np.repeat(np.arange(len(counts)), counts) % length
        written, which = np.unique(batch.labels * length + ahead, return_inverse=True)
        clusters, offsets = (on_device(self.slots, part) for part in np.divmod(written, length))
        rows = clusters * length + (self.positions[clusters] + offsets) % length
        flat = self.slots.view(count * length, -1)
        moving = flat.index_select(0, rows)
        move_centres(moving, batch.first.embeddings, which, momentum=self.slot_momentum)
        flat.index_copy_(0, rows, moving)
        added = np.bincount(batch.labels, minlength=count)
        self.positions.add_(on_device(self.positions, added)).remainder_(length)
