"""From packed images to embeddings, in table order."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer, UInt8
from torch import Tensor
from torch.nn import functional

from reidlib.batches.augment import normalise
from reidlib.batches.colour import balanced_stripes, colour_stripes
from reidlib.batches.residence import Images, batches, on_device
from reidlib.models.embedder import Embedder
from reidlib.progress import progress
from reidlib.settings import Count

Embeddings = Float32[np.ndarray, "n d"]
CPU_PIXELS = 1 << 19
"""Pixels of the images that a CPU takes at a time: what more of them leave behind does not fit its caches
(`benchmarks.extraction`: 256 images of 128 x 64 take EfficientNet-Lite0 half as long again as four times 64)."""


def device() -> torch.device:
    """Return the device that networks run on: the first GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def embed(
    model: Embedder,
    images: Images,
    *,
    batch_size: int = 256,
    flip: bool = False,
    rows: range | None = None,
    bf16: bool = False,
    cameras: Integer[np.ndarray, "n"] | None = None,
) -> Float32[np.ndarray, "m d"]:
    """Embed every image, in order, on the model's device.

    Args:
        model: put in evaluation mode for the time, and back.
        images: packed RGB crops, an array or a tensor; a memory map is read batch by batch.
        batch_size: images at a time, at most: a CPU takes as many as `CPU_PIXELS` allow; halved, and that printed,
            where the device has no memory for so many. The embeddings do not depend on it beyond rounding.
        flip: add the embedding of the mirror image before normalising.
        rows: the images to embed; all without.
        bf16: run the network in bfloat16.
        cameras: of the images: what a network with a camera norm makes of each in the style of every camera that it was
            trained on is added up before normalising [Xuan & Zhang, TPAMI 2022]; so many passes for one. Images of a
            camera that it does not know stay as they are.

    Returns:
        Unit-norm rows.

    Raises:
        ValueError: where an embedding is not finite: training diverged, or the weights are broken.
    """
    wanted = np.arange(len(images)) if rows is None else np.array(rows, np.int64)
    embeddings, training = None, model.training
    if next(model.parameters()).device.type == "cpu":
        batch_size = min(batch_size, max(1, CPU_PIXELS // math.prod(model.size_of(images))))
    model.eval()
    while embeddings is None:
        try:
            views = Views(flip=flip, cameras=cameras if model.architecture.camera_norms else None)
            embeddings = _embed_rows(model, images, wanted, batch_size=batch_size, views=views, bf16=bf16)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
        if embeddings is None:  # outside of the exception, which holds on to what did not fit
            torch.cuda.empty_cache()
            print(
                f"embedding: no memory for {batch_size} images at a time, going on with {batch_size // 2}", flush=True
            )
            batch_size //= 2
    model.train(training)
    broken = int((~np.isfinite(embeddings).all(axis=1)).sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(wanted)} embeddings are not finite: lower learning_rate, or check extract.weights"
        )
    return embeddings


class Views(NamedTuple):
    """Which views of an image make its embedding.

    Attributes:
        flip: itself and its mirror image.
        cameras: of all images: each in the style of every camera that the network knows; None: as they are.
    """

    flip: bool
    cameras: Integer[np.ndarray, "n"] | None

    def embedded(self, model: Embedder, batch: Tensor, rows: Int64[np.ndarray, "b"]) -> Float32[Tensor, "b d"]:
        """Return the unit-norm sums over the views of a batch, these rows of the images."""
        styles: list[tuple[Tensor, ...]] = [()]
        if self.cameras is not None:
            count = model.architecture.cameras
            known = self.cameras[rows] < count
            source = np.where(known, self.cameras[rows], 0).astype(np.int64)
            targets = (np.where(known, camera, 0) for camera in range(count))  # of unknown ones: source, thus no change
            styles = [(on_device(batch, source), on_device(batch, target.astype(np.int64))) for target in targets]
        images = [batch, batch.flip(3)] if self.flip else [batch]
        if len(images) * len(styles) == 1:
            return model(batch).embeddings
        total = sum(model(image, *style).summands for style in styles for image in images)
        return functional.normalize(torch.as_tensor(total), dim=1)


@torch.inference_mode()
def _embed_rows(
    model: Embedder, images: Images, wanted: Int64[np.ndarray, "m"], *, batch_size: int, views: Views, bf16: bool
) -> Float32[np.ndarray, "m d"]:
    """Embed some images by a network that is in evaluation mode."""
    where, architecture = next(model.parameters()).device, model.architecture
    embeddings = np.empty((len(wanted), model.dimension), np.float32)
    starts = range(0, len(wanted), batch_size)
    chunks = batches(images, (wanted[start : start + batch_size] for start in starts), device=where)
    for start, (source, chosen) in zip(progress(starts, "embedding"), chunks, strict=True):
        size = model.size_of(images)
        batch = normalise(source, rows=chosen, size_px=size, mean=architecture.mean, std=architecture.std).to(where)
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            embedded = views.embedded(model, batch, wanted[start : start + len(chosen)])
        embeddings[start : start + len(chosen)] = embedded.cpu().numpy()
    return embeddings


def embed_together(
    models: Sequence[Embedder],
    images: Images,
    *,
    flip: bool = False,
    batch_size: Count = 256,
    camera_styles: bool = False,
    cameras: Integer[np.ndarray, "n"] | None = None,
) -> Embeddings:
    """Embed images with one network, or with several side by side (one per camera, say), on the default device.

    The cosines of several are the means of each one's cosines. `flip`, `batch_size` and, where `camera_styles`,
    `cameras` are as in `embed`.
    """
    styled = cameras if camera_styles else None
    parts = [embed(model.to(device()), images, flip=flip, batch_size=batch_size, cameras=styled) for model in models]
    return np.hstack(parts) / np.float32(len(parts) ** 0.5)


def initial_embeddings(
    model: Embedder,
    images: UInt8[np.ndarray, "n h w 3"],
    *,
    descriptor: Literal["network", "colour_stripes", "balanced_stripes"],
    batch_size: Count,
    flip: bool = False,
) -> Embeddings:
    """Embed images before any training.

    Args:
        model: on its device; used by the descriptor `network`.
        images: packed RGB crops.
        descriptor: `network`; or, where the weights are random and tell little, `colour_stripes` (histograms of
            horizontal stripes) or `balanced_stripes` (the same after grey-world balance, the middle of the crop
            counting more; strong where cameras differ by white balance and exposure). See `reidlib.batches.colour`.
        batch_size: of the network.
        flip: of the network, as in `embed`.
    """
    if descriptor == "network":
        return embed(model, images, batch_size=batch_size, flip=flip)
    if descriptor == "balanced_stripes":
        return balanced_stripes(images)
    return colour_stripes(images)
