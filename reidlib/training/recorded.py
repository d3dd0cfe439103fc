"""The network's passes forward and back, recorded on a GPU and played back: CUDA graphs.

A pass of a ResNet-50 calls more than a thousand kernels, which a CPU needs longer to start than a fast GPU to run; one
that was recorded is started as a whole (`benchmarks.step`).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.embedder import Features
from reidlib.training.state import State


class _Pass(nn.Module):
    """The network with tensors alone as its result, as a recording wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features: Features = self.network(images)
        return features.pooled, features.necked


class Recorded:
    """A network to be called as itself, whose passes on batches of one size are recorded when a second in a row comes.

    One recording is kept, since it holds the memory of a batch's activations. Played back, it computes what the network
    would, from its weights as they are then. What is no tensor (the frozen parts, the samples that share statistics,
    the precision) is as it was when it was made, so that `begin_epoch` drops it where that has changed.

    Not recorded are passes on a CPU; of several processes; of a network with camera norms, whose styles pick rows; for
    losses of two views, since the second pass would overwrite the first; for steps of several batches, whose gradients
    are added up where a recording writes its own; and while a thread copies images to the GPU, which must not meet it.
    """

    def __init__(self, network: nn.Module) -> None:
        """Record nothing before `begin_epoch`."""
        self._network = network
        self._how: tuple[Any, ...] = ()
        self._possible, self._refused, self._before_neck = False, False, False
        self._last: torch.Size | None = None
        self._played: Callable[..., Any] | None = None

    def begin_epoch(self, state: State, *, resident: bool) -> None:
        """Keep the recording only if the epoch's passes are as those that it was made of.

        Args:
            state: of the run, the epoch's labels made and its parts frozen.
            resident: whether the images lie on the device.
        """
        settings, world, frozen = state.settings, state.world, tuple(state.settings.frozen_in(state.epoch))
        if (how := (frozen, settings.batch_norm_group, state.precision)) != self._how:
            self._how, self._last, self._played = how, None, None
        alone = world.size == settings.accumulate == state.loss.views == 1 and not state.model.architecture.camera_norms
        self._possible = alone and resident and world.device.type == "cuda" and not self._refused

    def __call__(self, images: Float[Tensor, "b 3 h w"], *styles: Tensor | None) -> Features:
        """Return the features of a batch of training."""
        if self._possible and self._played is None and images.shape == self._last:
            self._record(images)
        if self._possible and self._played is not None and images.shape == self._last:
            pooled, necked = self._played(images)
            return Features(pooled.clone(), necked.clone(), self._before_neck)  # the next pass writes where they were
        features: Features = self._network(images, *styles)
        if self._played is None:
            self._last, self._before_neck = images.shape, features.before_neck
        return features

    def _record(self, images: Tensor) -> None:
        """Record a pass; nothing but the recording is left of it. Where the network does what cannot be, say so."""
        buffers = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        bf16 = torch.is_autocast_enabled("cuda")
        uncached = torch.autocast("cuda", torch.bfloat16, enabled=bf16, cache_enabled=False)
        if quieten := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
            quieten(False)  # a recording has a stream of its own
        try:
            with torch.random.fork_rng([images.device]), uncached:
                self._played = torch.cuda.make_graphed_callables(
                    _Pass(self._network), (images.clone(),), num_warmup_iters=1, allow_unused_input=True
                )
        except RuntimeError as error:
            self._possible, self._refused = False, True
            line = str(error).partition("\n")[0]
            print(f"the network's passes cannot be recorded, which would be faster: {line}", flush=True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
