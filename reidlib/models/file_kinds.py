"""What a file of weights is, told by its content, whatever its name; nothing of it is run."""

import re
import zipfile
from codecs import getincrementaldecoder
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reidlib.files import listed

TORCH = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that the older files of torch.save begin with, pickled
# How files begin, and what they are.
BEGINNINGS: Sequence[tuple[bytes, str]] = (
    (rb"\Z", "an empty file"),
    (rb"version https://git-lfs", "a pointer of Git LFS: run `git lfs pull` where it comes from"),
    (rb"\s*(?i:<!doctype|<html|<\?xml)", "a web page instead of a download: fetch the file itself"),
    (rb"\x08[\x01-\x20][\x12\x3a\x42]", "an ONNX model, which has no names of layers: look for the weights of PyTorch"),
    (rb"\x89HDF\r\n", "an HDF5 file, as of Keras: look for the weights of PyTorch"),
    (rb"(?s:.{4})TFL3", "a model of TensorFlow Lite: look for the weights of PyTorch"),
    (rb"\x93NUMPY", "a numpy array without names"),
    (rb"\x1f\x8b", "a gzip archive: unpack it"),
    (rb"(?s:.{257})ustar", "a tar archive: unpack it"),
    (rb"\x80[\x02-\x05](?!%s)" % re.escape(TORCH), "a pickle of another program than torch.save"),
)


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: the length of a JSON header in eight bytes, and the header."""
    with path.open("rb") as file:
        beginning = file.read(9)
    return beginning[8:] == b"{" and int.from_bytes(beginning[:8], "little") <= path.stat().st_size - 8


def foreign_kind(path: Path) -> str | None:
    """Return for a message what a file is, and what to do; None for what may be safetensors or of `torch.save`."""
    with path.open("rb") as file:
        beginning = file.read(512)
    if beginning.startswith(b"PK"):
        return _foreign_zip(path)
    with suppress(StopIteration):
        return next(kind for pattern, kind in BEGINNINGS if re.match(pattern, beginning))
    with suppress(UnicodeDecodeError):
        text = " ".join(getincrementaldecoder("utf-8")().decode(beginning).split())  # the last character may be cut
        return f"text that begins {text[:40]!r}" if text.isprintable() else None
    return None


def _foreign_zip(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        return "the beginning of a zip archive: its download did not end"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "a program in TorchScript. If you trust its source, keep its tensors alone, which runs it: "
            "`torch.save(torch.jit.load(file).state_dict(), other_file)`"
        )
    if any(name.endswith("data.pkl") for name in names):
        return None
    return f"a zip archive of {listed(names, most=3)}: unpack it"
