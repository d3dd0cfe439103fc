"""Where a split lives while a network reads it: on the device, in memory, or in its file.

On a GPU the whole split is held there where it fits; otherwise a thread gathers the batches to come into pinned memory
and copies them over on a stream of its own, beside the network's work. On a CPU rows are read where they lie.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, Integer, UInt8
from torch import Tensor

from reidlib.progress import in_parallel

Images = UInt8[np.ndarray, "n height width 3"] | UInt8[Tensor, "n height width 3"]
Rows = Integer[np.ndarray, "_"]  # batches may differ in length
Residence = Literal["device", "memory", "file"]

DEPTH = 2  # batches made ahead


def residence(images: Images, *, device: torch.device, memory_gib: float) -> Residence:
    """Return where a split is to live: on a GPU if it takes at most `memory_gib`, else in half of the free memory."""
    if device.type != "cuda":
        return "file"
    if images.nbytes <= memory_gib * 2**30:
        return "device"
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "memory" if images.nbytes <= free / 2 else "file"


def place(images: UInt8[np.ndarray, "n height width 3"], where: Residence, *, device: torch.device) -> Images:
    """Return the split where it is to live."""
    if where == "file":
        return images
    copy = np.array(images)
    return torch.from_numpy(copy).to(device) if where == "device" else copy


def on_device(beside: Tensor, values: np.ndarray) -> Tensor:
    """Copy to the device of a tensor without waiting for the work queued there."""
    tensor = torch.from_numpy(values)
    if beside.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(beside.device, non_blocking=True)


def batches(images: Images, rows: Iterable[Rows], *, device: torch.device) -> Iterator[tuple[Images, Rows]]:
    """Yield for the rows of each batch, in order, what `augment` reads: images and the rows of the batch in them.

    A split on the device, or any on a CPU, is passed on with the rows as they are; others are prefetched.
    """
    if isinstance(images, Tensor) or device.type == "cpu":
        return ((images, some) for some in rows)
    return prefetch(images, rows, device=device)


def prefetch(
    images: UInt8[np.ndarray, "n height width 3"], rows: Iterable[Rows], *, device: torch.device
) -> Iterator[tuple[UInt8[Tensor, "_ height width 3"], Int64[np.ndarray, "_"]]]:
    """Yield the images of each batch on the device, copied there ahead by a thread, and 0, 1, … as their rows.

    The thread ends with the iterator, also where that is closed early.

    Raises:
        ValueError: rows that are not in the images.
    """
    stream: torch.cuda.Stream | None = None
    if device.type == "cuda":
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with ThreadPoolExecutor(1) as thread:
        copy = partial(_copy, images, device=device, stream=stream)
        for batch, arrival in in_parallel(thread, copy, rows, most=DEPTH):
            if arrival is not None:  # the batch's memory is kept until the current stream is done with it
                current = torch.cuda.current_stream(device)
                current.wait_event(arrival)
                batch.record_stream(current)
            yield batch, np.arange(len(batch))


def _copy(
    images: UInt8[np.ndarray, "n height width 3"], rows: Rows, *, device: torch.device, stream: torch.cuda.Stream | None
) -> tuple[Tensor, torch.Event | None]:
    """Return the images of one batch on the device, and the event of their arrival."""
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(images):
        raise ValueError(f"expected rows 0..{len(images) - 1}, got {rows.min()}..{rows.max()}; is this their split?")
    buffer = torch.empty((len(rows), *images.shape[1:]), dtype=torch.uint8, pin_memory=stream is not None)
    np.take(images, rows, axis=0, out=buffer.numpy(), mode="clip")  # "raise" would gather into a copy first
    if stream is None:
        return buffer.to(device), None
    with torch.cuda.stream(stream):
        return buffer.to(device, non_blocking=True), stream.record_event()
