"""The network's passes forward and back, recorded on a GPU and played back: CUDA graphs.

A pass of a ResNet-50 calls more than a thousand kernels, which a CPU needs longer to start than a fast GPU to run; one
that was recorded is started as a whole (`benchmarks.step`).
"""

import gc
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reidlib.models.embedder import Features
from reidlib.training.state import State


class _Pass(nn.Module):
    """The network as a recording wants it: it gives tensors alone, and autocast concerns the way forward alone."""

    def __init__(self, network: nn.Module, *, bf16: bool) -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            features: Features = self.network(images)
        return features.pooled, features.necked


class Recorded:
    """A network to be called as itself, whose passes on batches of one size are recorded when a second in a row comes.

    One recording is kept, since it holds the memory of a batch's activations; two batches of another size in a row make
    another. Played back, it computes what the network would, from its weights as they are then. What is no tensor (the
    frozen parts, the samples that share statistics, the precision) is as it was when it was made, so that `begin_epoch`
    drops it where that has changed.

    Not recorded are passes on a CPU; of several processes; of a network with camera norms, whose styles pick rows; for
    losses of two views, since the second pass would overwrite the first; for steps of several batches, whose gradients
    are added up where a recording writes its own; while a thread copies images to the GPU, which must not meet it; and
    where `compute.record` is off.
    """

    def __init__(self, network: nn.Module) -> None:
        """Record nothing before `begin_epoch`."""
        self._network = network
        self._how: tuple[Any, ...] = ()
        self._possible, self._before_neck = False, False
        self._last: torch.Size | None = None
        self._recorded: torch.Size | None = None
        self._played: Callable[..., Any] | None = None

    def begin_epoch(self, state: State, *, resident: bool) -> None:
        """Keep the recording only if the epoch's passes are as those that it was made of.

        Args:
            state: of the run, the epoch's labels made and its parts frozen.
            resident: whether the images lie on the device.
        """
        settings, world, frozen = state.settings, state.world, tuple(state.settings.frozen_in(state.epoch))
        if (how := (frozen, settings.batch_norm_group, state.precision)) != self._how:
            self._how = how
            self.forget()
        alone = world.size == settings.accumulate == state.loss.views == 1 and not state.model.architecture.camera_norms
        self._possible = settings.compute.record and alone and resident and world.device.type == "cuda"

    def forget(self) -> None:
        """Drop the recording and its memory, which references in a circle hold on to until they are looked for."""
        self._last = None
        if self._recorded is not None:
            self._recorded, self._played = None, None
            gc.collect()

    def __call__(self, images: Float[Tensor, "b 3 h w"], *styles: Tensor | None) -> Features:
        """Return the features of a batch of training.

        Raises:
            ValueError: where the network does what cannot be recorded, waiting for the GPU within a pass, say.
        """
        if self._possible and images.shape == self._last != self._recorded:
            self._record(images)
        self._last = images.shape
        if self._possible and self._played is not None and images.shape == self._recorded:
            pooled, necked = self._played(images)
            return Features(pooled.clone(), necked.clone(), self._before_neck)  # the next pass writes where they were
        features: Features = self._network(images, *styles)
        self._before_neck = features.before_neck
        return features

    def _record(self, images: Tensor) -> None:
        """Record a pass; nothing but the recording is left of it."""
        self.forget()
        buffers = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        one = _Pass(self._network, bf16=torch.is_autocast_enabled("cuda"))
        if quieten := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
            quieten(False)  # a recording has a stream of its own
        try:
            with torch.random.fork_rng([images.device]), torch.autocast("cuda", enabled=False):
                self._played = torch.cuda.make_graphed_callables(
                    one, (images.clone(),), num_warmup_iters=1, allow_unused_input=True
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            cause = str(error.__context__ or error).partition("\n")[0]
            raise ValueError(f"the network's passes cannot be recorded ({cause}); set compute.record=false") from error
        self._recorded = images.shape
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
