"""The state of a training run on the disk, so that an interrupted run goes on as if nothing had happened.

A checkpoint is one safetensors file (no pickle) that carries the SHA-256 digest of its content. It is written beside
its place, flushed and renamed, and the two newest are kept: a torn or altered one is told by its digest, and the one
before it is taken. A folder of checkpoints belongs to one set of parameters, inputs and code (`fingerprint`) and to one
running process (a lock).
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from reidlib.files import atomic_file

KEPT = 2
State = dict[str, Any]


class Interrupted(Exception):  # noqa: N818 - not an error of the run
    """The run was asked to stop by a signal, and left a checkpoint."""

    def __init__(self, message: str, signal: signal.Signals) -> None:
        """Keep the signal beside the message."""
        super().__init__(message)
        self.signal = signal


class Checkpoints:
    """The checkpoints of one training run; without a folder nothing is kept.

    Attributes:
        folder: where they lie, or None.
        minutes: between two checkpoints inside an epoch.
    """

    def __init__(self, folder: Path | None = None, *, minutes: float = 10.0) -> None:
        """Find what an earlier run left."""
        self.folder, self.minutes = folder, minutes
        self._last, self._writer = monotonic(), ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._copies: dict[str, Tensor] = {}
        self._number = max((_number(path) for path in self._found()), default=0)

    def part(self, name: str) -> "Checkpoints":
        """Return the checkpoints of a part of the run that trains on its own (a camera, say)."""
        return Checkpoints(self.folder and self.folder / name, minutes=self.minutes)

    def newest(self) -> bytes | None:
        """Return the newest whole checkpoint, for `unpack`; None where there is none. Damaged ones are reported."""
        for path in sorted(self._found(), key=_number, reverse=True):
            content = path.read_bytes()
            try:
                unpack(content)
            except ValueError as error:
                print(f"{path}: {error}; the checkpoint before it is tried")
            else:
                return content
        return None

    def due(self) -> bool:
        """Return whether it is time for a checkpoint inside an epoch."""
        return self.folder is not None and monotonic() - self._last >= 60 * self.minutes

    def save(self, state: State) -> None:
        """Copy a state and write it in the background; waits only where the one before is not yet written.

        A checkpoint that cannot be written (disk full) is reported and training goes on: the one before stays.
        """
        if self.folder is None:
            return
        self.wait()
        tensors, rest = _flatten(state)
        before, self._copies = self._copies, {}
        for name, tensor in tensors.items():  # into the last copy's memory, where it fits: new memory costs more
            copy = before.get(name)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype)
            self._copies[name] = copy.copy_(tensor)
        self._number += 1
        self._pending = self._writer.submit(self._write, self._number, self._copies, rest)
        self._last = monotonic()

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk, or has failed and said so."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def __enter__(self) -> "Checkpoints":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End, whatever happened, with the last checkpoint on the disk."""
        self.wait()

    def __str__(self) -> str:
        """Name the newest checkpoint for a message."""
        paths = sorted(self._found(), key=_number)
        return str(paths[-1]) if paths else "none"

    def _found(self) -> list[Path]:
        return list(self.folder.glob("[0-9]*.safetensors")) if self.folder is not None else []

    def _write(self, number: int, tensors: dict[str, Tensor], rest: str) -> None:
        assert self.folder is not None
        try:
            with atomic_file(self.folder / f"{number:06d}.safetensors") as temporary:
                save_file(tensors, temporary, metadata={"rest": rest, "digest": _digest(tensors, rest)})
            for old in sorted(self._found(), key=_number)[:-KEPT]:
                old.unlink()
        except (OSError, SafetensorError) as error:
            print(f"checkpoint not written: {error}; training goes on, and would resume from {self}", flush=True)


def unpack(content: bytes) -> State:
    """Return the state that `Checkpoints.save` was given.

    Raises:
        ValueError: not a checkpoint, or a damaged one.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        facts, tensors = json.loads(content[8 : 8 + length])["__metadata__"], load(content)
        if _digest(tensors, facts["rest"]) != facts["digest"]:
            raise ValueError("its content does not match its digest")
        return _unflatten(json.loads(facts["rest"]), tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"not a whole checkpoint of this pipeline ({error})") from error


def fingerprint(paths: Sequence[Path], values: Any) -> str:
    """Return 16 hexadecimal digits that change with the parameters, the input files or the code.

    Args:
        paths: files and folders, whole; caches of compiled code are left out. Where they lie does not matter: an
            experiment may run in a copy of the repository.
        values: parameters, as JSON takes them.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in paths:
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                with file.open("rb") as opened:
                    content = hashlib.file_digest(opened, "sha256").hexdigest()
                digest.update(f"{path.name}/{file.relative_to(path)}\0{content}\0".encode())
    return digest.hexdigest()[:16]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made here, and removed where the block ends without an exception.

    Raises:
        ValueError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode() or "unknown"
            raise ValueError(
                f"{folder}: another process (pid {owner}) trains this very run; wait for it, or stop it "
                f"(`kill {owner}`: it leaves a checkpoint) and run again"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


@contextmanager
def stop_requests() -> Iterator[Callable[[], signal.Signals | None]]:
    """Yield a function that tells which of SIGTERM and SIGINT has come, if any; only a second one ends the process."""
    received: list[signal.Signals] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(signal.Signals(number))
        signal.signal(number, before[received[-1]])

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number(path: Path) -> int:
    return int(path.name.split(".")[0])


def _digest(tensors: dict[str, Tensor], rest: str) -> str:
    digest = hashlib.sha256(rest.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flatten(state: State) -> tuple[dict[str, Tensor], str]:
    """Split a nested state into its tensors, by number, and the rest as JSON, which refers to them."""
    tensors: dict[str, Tensor] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            tensors[str(len(tensors))] = value
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(value, dict):
            return {"items": [[key, walk(item)] for key, item in value.items()]}  # keys of optimisers are numbers
        if isinstance(value, list | tuple):
            return {"list": [walk(item) for item in value]}
        return {"value": value}

    return tensors, json.dumps(walk(state))


def _unflatten(rest: Any, tensors: dict[str, Tensor]) -> Any:
    """Put the tensors back into what `_flatten` left; tuples come back as lists, arrays as tensors."""
    kind, value = next(iter(rest.items()))
    match kind:
        case "tensor":
            return tensors[value]
        case "items":
            return {key: _unflatten(item, tensors) for key, item in value}
        case "list":
            return [_unflatten(item, tensors) for item in value]
    return value
