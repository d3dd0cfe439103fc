"""A gallery on the disk: a folder whose `gallery.json` names one version of vectors, rows and thumbnails.

::

    gallery.json               the model, how many rows, the version, the index
    <version>/vectors.npy      float32 (n, d), unit-norm, mapped into memory
    <version>/rows.parquet     a row for each picture, in the vectors' order: the columns ROWS
    <version>/thumbnails.bin   JPEGs, one behind the other; thumbnail_end of a row is where its own ends
    <version>/index.faiss      where there is one

Who writes makes a whole new version, then replaces gallery.json, then removes the former version: a reader sees one or
the other. Readers that have it open keep what they have.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, UInt8
from pydantic import ConfigDict, TypeAdapter

from reidlib.files import atomic_file, atomic_folder
from reidlib.gallery.index import INDEX_FILE, IndexFacts
from reidlib.settings import Count
from reidlib.tables import open_array, write_parquet

MANIFEST, VECTORS, TABLE, THUMBNAILS = "gallery.json", "vectors.npy", "rows.parquet", "thumbnails.bin"
ROWS: Mapping[str, str] = {
    "path": "string", "camera": "string", "time": "double", "tracklet": "string", "identity": "string",
    "thumbnail_end": "int64",
}  # fmt: skip
MEND = "restore the gallery from a copy, or remove it and index anew"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What gallery.json says.

    Attributes:
        format: of this folder.
        model: name of the model that made the vectors.
        fingerprint: of the model; see `models.description.fingerprint`.
        model_file: where the model lay.
        dimension: length of the vectors.
        rows: how many there are.
        thumbnail_bytes: how long all thumbnails are.
        version: the folder that holds them.
        index: of faiss, where there is one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    model: str
    fingerprint: str
    model_file: str
    dimension: Count
    rows: int
    version: str
    thumbnail_bytes: int = 0
    index: IndexFacts | None = None


class Stored(NamedTuple):
    """A gallery's version as it was opened; nothing of it is read yet but the manifest and the headers."""

    manifest: Manifest
    folder: Path
    vectors: Float32[np.ndarray, "n d"]
    table: Any  # pyarrow.parquet.ParquetFile
    thumbnails: UInt8[np.ndarray, "_"]

    def rows(self) -> pd.DataFrame:
        """Read the table of rows, columns `ROWS`.

        Raises:
            ValueError: where it is damaged.
        """
        try:
            table: pd.DataFrame = self.table.read().to_pandas()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{self.folder / self.manifest.version / TABLE}: damaged ({error}); {MEND}") from error
        return table


def open_store(folder: Path) -> Stored:
    """Open what a gallery's folder holds now.

    Raises:
        ValueError: no gallery, one of a newer format, or one that is damaged or cut short.
    """
    for _ in range(5):  # a writer may remove the version that the manifest named a moment ago
        manifest = read_manifest(folder)
        with suppress(FileNotFoundError):
            return _open_version(folder, manifest)
    missing = [name for name in (VECTORS, TABLE, THUMBNAILS) if not (folder / manifest.version / name).is_file()]
    raise ValueError(f"{folder / manifest.version}: no {', '.join(missing)}; {MEND}")


def read_manifest(folder: Path) -> Manifest:
    """Read gallery.json.

    Raises:
        ValueError: where there is none, or another one than this format's.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: expected a gallery, found no {MANIFEST}; make one: reidlib index PICTURES")
    try:
        return TypeAdapter(Manifest).validate_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a gallery of this version of reidlib, or damaged ({error}); {MEND}") from error


def write_version(
    folder: Path,
    manifest: Manifest,
    *,
    vectors: Iterable[Float32[np.ndarray, "_ d"]],
    rows: pd.DataFrame,
    thumbnails: Iterable[UInt8[np.ndarray, "_"]],
    index: IndexFacts | None = None,
) -> Manifest:
    """Replace what a gallery holds, whole or not at all, and return its new manifest.

    Args:
        folder: the gallery's; `writing` must hold it.
        manifest: of before; a new gallery's names the model and has no rows.
        vectors: as many rows as `rows`, block by block.
        rows: columns `ROWS`.
        thumbnails: the JPEGs' bytes, block by block.
        index: of the version before, to be kept: the first rows are those that it holds.
    """
    length = int(rows["thumbnail_end"].iloc[-1]) if len(rows) else 0
    changed = {"rows": len(rows), "version": uuid4().hex[:12], "thumbnail_bytes": length, "index": index}
    new = Manifest(**vars(manifest) | changed)
    with atomic_folder(folder / new.version) as made:
        write_parquet(made / TABLE, rows, columns=ROWS)
        with (made / VECTORS).open("wb") as file:  # not by a memory map, which a full disk would kill
            header = {"descr": "<f4", "fortran_order": False, "shape": (new.rows, new.dimension)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in vectors:
                file.write(np.ascontiguousarray(block).data)
        with (made / THUMBNAILS).open("wb") as file:
            for jpegs in thumbnails:
                file.write(np.ascontiguousarray(jpegs).data)
        if index is not None:
            shutil.copyfile(folder / manifest.version / INDEX_FILE, made / INDEX_FILE)
    write_manifest(folder, new)
    return new


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the gallery the one that `manifest` names, and remove other versions."""
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_bytes(TypeAdapter(Manifest).dump_json(manifest, indent=2) + b"\n")
    for entry in folder.iterdir():
        if (
            entry.is_dir() and entry.name != manifest.version
        ):  # what killed writers left too: `writing` holds the folder
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold a gallery's folder, made if it is not there, against other writers; an empty one is removed on an error.

    Raises:
        OSError: another process writes to it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        reason = f"{os.strerror(error.errno or 0)}: the gallery {folder} cannot be made there; choose another place"
        raise OSError(error.errno, reason) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{folder}: another process writes to this gallery; wait for it, then try again") from error
        yield
    except BaseException:
        if not (folder / MANIFEST).exists():
            with suppress(OSError):
                folder.rmdir()
        raise
    finally:
        os.close(descriptor)


def _open_version(gallery: Path, manifest: Manifest) -> Stored:
    folder = gallery / manifest.version
    try:
        vectors = open_array(folder / VECTORS, mend=MEND)
    except ValueError as error:
        if (folder / VECTORS).is_file():
            raise
        raise FileNotFoundError(folder / VECTORS) from error  # removed while it was opened
    shape = (manifest.rows, manifest.dimension)
    if vectors.dtype != np.float32 or vectors.shape != shape:
        raise ValueError(f"{folder / VECTORS}: expected float32 {shape}, found {vectors.dtype} {vectors.shape}; {MEND}")
    try:
        table = pq.ParquetFile(folder / TABLE, page_checksum_verification=True)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{folder / TABLE}: cut short or damaged ({error}); {MEND}") from error
    found = {field.name: str(field.type) for field in table.schema_arrow}
    if found != dict(ROWS) or table.metadata.num_rows != manifest.rows:
        raise ValueError(f"{folder / TABLE}: expected {manifest.rows:,} rows of {dict(ROWS)}, found "
                         f"{table.metadata.num_rows:,} of {found}; {MEND}")  # fmt: skip
    path = folder / THUMBNAILS
    size, expected = path.stat().st_size, manifest.thumbnail_bytes
    if size != expected:
        raise ValueError(f"{path}: cut short or damaged ({size:,} bytes, expected {expected:,}); {MEND}")
    thumbnails = np.memmap(path, np.uint8, mode="r") if size else np.empty(0, np.uint8)  # nothing cannot be mapped
    return Stored(manifest, gallery, vectors, table, thumbnails)
