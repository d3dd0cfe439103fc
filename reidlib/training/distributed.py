"""Several processes that train one model: one per device, on one machine or many, started by torchrun.

Every process runs the same program on the same data and draws the same random numbers; each computes its share of the
rows, in rank order, so that the result is that of one process but for rounding. One process is a world of size 1, in
which nothing is communicated and nothing of torch.distributed is touched.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, distributed, nn

from reidlib.embed import device
from reidlib.models.embedder import Features
from reidlib.models.grouped_norm import synchronise_norms
from reidlib.neighbours.search import Neighbours, nearest

TIMEOUT = timedelta(minutes=30)  # the longest that one rank may work (rank 0 clusters) while the others wait for it
Value = TypeVar("Value")


class _Gathered(torch.autograd.Function):
    """The rows of all ranks; backward, every rank has the whole gradient and takes its rows, times the ranks."""

    @staticmethod
    def forward(context: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        context.part, context.size = slice(rank * len(rows), (rank + 1) * len(rows)), size
        parts = [torch.empty_like(rows) for _ in range(size)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[context.part] * context.size, None, None


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: of this process, 0..size-1.
        size: number of processes.
        device: that this process computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that labels, prints and writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return this rank's rows of `count`: consecutive, in rank order, as even as possible."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def equal_share(self, count: int) -> slice:
        """Return this rank's part of a batch.

        Raises:
            ValueError: a batch that the ranks cannot share evenly.
        """
        if count % self.size:
            raise ValueError(
                f"expected a batch that {self.size} processes can share evenly, got {count} images; choose "
                "clusters_per_batch * images_per_cluster as a multiple of REID_NPROC (times the number of machines)"
            )
        rows = self.share(count)
        return slice(rows.start, rows.stop)

    def join(self, part: Shaped[np.ndarray, "part *rest"], *, count: int) -> Shaped[np.ndarray, "n *rest"]:
        """Return the rows of all ranks, every rank having brought those of its `share(count)`."""
        if self.size == 1:
            return part
        most = -(-count // self.size)
        padded = np.zeros((most, *part.shape[1:]), part.dtype)
        padded[: len(part)] = part
        parts = [torch.empty(padded.shape, dtype=torch.from_numpy(padded).dtype) for _ in range(self.size)]
        distributed.all_gather(parts, torch.from_numpy(padded))
        lengths = [len(World(rank, self.size, self.device).share(count)) for rank in range(self.size)]
        return np.concatenate([rows[:length].numpy() for rows, length in zip(parts, lengths, strict=True)])

    def gather(self, features: Features) -> Features:
        """Return the features of the whole batch, in rank order; gradients flow back to this rank's part.

        Every rank then computes the loss of the whole batch, and DDP's mean over the ranks of what each sends back into
        its part is the gradient that one process would have.
        """
        if self.size == 1:
            return features
        both = _Gathered.apply(torch.stack([features.pooled, features.necked], dim=1), self.rank, self.size)
        pooled, necked = both.unbind(1)
        return features._replace(pooled=pooled, necked=necked)

    def search(self, embeddings: Float[np.ndarray, "n d"], *, k: int) -> Neighbours:
        """Search the nearest neighbours of all rows, every rank those of its share; see `neighbours.search.nearest`."""
        if self.size == 1:
            return nearest(embeddings, k=k)
        part = nearest(embeddings, k=k, rows=self.share(len(embeddings)))
        return Neighbours(*(self.join(np.ascontiguousarray(column), count=len(embeddings)) for column in part))

    def on_first(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 and give its result, or its exception, to every rank."""
        if self.size == 1:
            return function()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = function()
            except Exception as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def any_of(self, wish: bool) -> bool:
        """Return whether any rank wishes it."""
        if self.size == 1:
            return wish
        wishes = torch.tensor([wish], dtype=torch.int32)
        distributed.all_reduce(wishes, distributed.ReduceOp.MAX)
        return bool(wishes.item())

    def mean(self, values: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
        """Return the mean over ranks."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.size

    def replicate(self, model: nn.Module) -> nn.Module:
        """Return what to call in training: gradients are averaged over ranks, batch norms span them where needed."""
        if self.size == 1:
            return model
        synchronise_norms(model, rank=self.rank, size=self.size)
        replica = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
        replica.broadcast_buffers = False  # a property, where newer torch has deprecated the argument
        return replica


ALONE = World(0, 1, device())


@contextmanager
def connect() -> Iterator[World]:
    """Yield the world that torchrun describes (RANK, LOCAL_RANK, WORLD_SIZE); without torchrun, this process alone.

    CPU tensors travel by gloo, GPU tensors by NCCL. A rank that dies ends the run: torchrun stops the others, and on
    other machines whatever waits for it raises after `TIMEOUT` at the latest.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, device())
        return
    gpu = torch.cuda.is_available()
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(own)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=TIMEOUT)
    try:
        yield World(distributed.get_rank(), size, own)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
