"""From packed images to embeddings, in table order, and the arrays they are kept in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from reidlib.artifacts import atomic_file
from reidlib.images.augment import normalise
from reidlib.images.colour import colour_stripes
from reidlib.images.packing import open_npy
from reidlib.images.residence import batches
from reidlib.models.embedder import Embedder
from reidlib.progress import progress

Images = UInt8[np.ndarray, "n h w 3"]
Embeddings = Float32[np.ndarray, "n d"]


def device() -> torch.device:
    """Return the device that networks run on: the first GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def embed(
    model: Embedder,
    images: Images | UInt8[Tensor, "n h w 3"],
    *,
    batch_size: int = 256,
    flip: bool = False,
    rows: range | None = None,
    bf16: bool = False,
) -> Embeddings:
    """Embed every image, in order, on the model's device.

    Args:
        model: put in evaluation mode for the time, and back.
        images: packed RGB crops, an array or a tensor; a memory map is read batch by batch.
        batch_size: images at a time; the embeddings do not depend on it beyond rounding.
        flip: add the embedding of the mirror image before normalising.
        rows: the images to embed; all without.
        bf16: run the network in bfloat16.

    Returns:
        Unit-norm rows.

    Raises:
        ValueError: where an embedding is not finite: training diverged, or the weights are broken.
    """
    where, training = next(model.parameters()).device, model.training
    model.eval()
    wanted = np.arange(len(images)) if rows is None else np.array(rows, np.int64)
    embeddings = np.empty((len(wanted), model.dimension), np.float32)
    starts = range(0, len(wanted), batch_size)
    chunks = batches(images, (wanted[start : start + batch_size] for start in starts), device=where)
    for start, (source, some) in zip(progress(starts, "embedding"), chunks, strict=True):
        batch = normalise(source, rows=some, size_px=model.size_of(images)).to(where)
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            embedded = model(batch).embeddings
            if flip:
                embedded = torch.nn.functional.normalize(embedded + model(batch.flip(3)).embeddings, dim=1)
        embeddings[start : start + len(some)] = embedded.cpu().numpy()
    model.train(training)
    broken = int((~np.isfinite(embeddings).all(axis=1)).sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(wanted)} embeddings are not finite: lower learning_rate, or check extract.weights"
        )
    return embeddings


def embed_together(models: Sequence[Embedder], images: Images, *, flip: bool = False) -> Embeddings:
    """Embed images with one network, or with several side by side (one per camera, say), on the default device.

    The cosines of several are the means of each one's cosines.
    """
    parts = [embed(model.to(device()), images, flip=flip) for model in models]
    return np.hstack(parts) / np.float32(len(parts) ** 0.5)


def initial_embeddings(model: Embedder, images: Images, *, descriptor: str, batch_size: int) -> Embeddings:
    """Embed images before any training.

    Args:
        model: used by the descriptor `network`.
        images: packed RGB crops.
        descriptor: `network`; or, where the weights are random and tell little, `colour_stripes` (histograms of
            horizontal stripes) or `balanced_stripes` (the same after grey-world balance, the middle of the crop
            counting more; strong where cameras differ by white balance and exposure). See `reidlib.images.colour`.
        batch_size: of the network.

    Raises:
        ValueError: for an unknown descriptor.
    """
    match descriptor:
        case "network":
            return embed(model, images, batch_size=batch_size)
        case "colour_stripes":
            return colour_stripes(images)
        case "balanced_stripes":
            return colour_stripes(images, balance=True, focus=0.25)
    raise ValueError(f"extract.descriptor: expected network, colour_stripes or balanced_stripes; found {descriptor!r}")


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write an array that `open_embeddings` maps into memory."""
    with atomic_file(path) as temporary:
        np.save(temporary, embeddings)


def open_embeddings(path: Path, *, images: int) -> Embeddings:
    """Map embeddings into memory, read-only.

    Raises:
        ValueError: where the file is missing, cut short, of another type, or of another number of images.
    """
    embeddings = open_npy(path, mend="remove it and run `dvc repro`")
    if embeddings.dtype != np.float32 or embeddings.ndim != 2 or len(embeddings) != images:
        raise ValueError(
            f"{path}: expected float32 embeddings of {images} images, found {embeddings.dtype} {embeddings.shape}; "
            "remove it and run `dvc repro`"
        )
    return embeddings
