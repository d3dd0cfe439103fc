"""Changes of a gallery on the disk: pictures added, rows removed, an index built; each whole or not at all."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from reidlib.files import listed
from reidlib.gallery.index import INDEX_FILE, IndexFacts, Kind, build_index
from reidlib.gallery.model import Model, OnBadPicture
from reidlib.gallery.pictures import Picture
from reidlib.gallery.search import EXACT_UP_TO, nearest_rows
from reidlib.gallery.store import MANIFEST, Manifest, Stored, open_store, write_manifest, write_version, writing

THUMBNAIL_PX = 128  # the longer side at most
BLOCK = 1 << 16
IndexChoice = Literal["auto", "exact", "hnsw", "ivf"]


class Added(NamedTuple):
    """What became of pictures: how many were added, how many were there before, and why others could not be read."""

    added: int
    already: int
    problems: dict[int, str]


def add_pictures(
    folder: Path,
    pictures: Sequence[Picture],
    rows: pd.DataFrame,
    *,
    model: Model,
    on_bad_picture: OnBadPicture = "error",
    index: IndexChoice = "auto",
) -> Added:
    """Embed pictures and add them to a gallery, which is made where there is none; those that it has are left out.

    Args:
        folder: the gallery's.
        pictures: as in `Model.embed`.
        rows: of each picture path, camera, time, tracklet and identity, see `gallery.rows`; the path is its name.
        model: that makes the vectors.
        on_bad_picture: as in `Model.embed`.
        index: exact, or an index of this kind over all rows; auto: what is there, or IVF beyond 100,000 rows.

    Raises:
        ValueError: a gallery of another model, pictures that cannot be read, two of one path.
        OSError: another process writes to the gallery; no room or no right to.
    """
    twice = rows["path"][rows["path"].duplicated()]
    if len(twice) or len(rows) != len(pictures):
        raise ValueError(
            f"{folder}: expected a row with a path of its own for each of {len(pictures):,} pictures, found "
            f"{len(rows):,}, twice: {listed(twice, 3)}"
        )
    with writing(folder):
        before = open_store(folder) if (folder / MANIFEST).exists() else None
        if before is not None:
            check_model(folder, before.manifest, model)
        held = _held(before)
        new = np.flatnonzero(~rows["path"].isin(held["path"]).to_numpy())
        already = len(pictures) - len(new)
        if before is not None and not len(new):
            change_index(folder, before.manifest, index)
            return Added(0, already, {})
        jpegs: list[bytes] = []

        def keep(pixels: UInt8[np.ndarray, "b height_px width_px 3"]) -> None:
            jpegs.extend(map(thumbnail, pixels))

        chosen = [pictures[int(number)] for number in new]
        embedded = model.embed_each(chosen, on_bad_picture=on_bad_picture, keep=keep)
        fresh = rows.iloc[new[embedded.kept]].assign(thumbnail_end=np.cumsum([len(jpeg) for jpeg in jpegs]))
        start = 0 if before is None else len(before.thumbnails)
        fresh["thumbnail_end"] += start
        manifest = write_version(
            folder,
            _manifest(model) if before is None else before.manifest,
            vectors=[*([] if before is None else [before.vectors]), embedded.vectors],
            rows=pd.concat([held, fresh], ignore_index=True),
            thumbnails=[*([] if before is None else [before.thumbnails]), np.frombuffer(b"".join(jpegs), np.uint8)],
            index=None if before is None else before.manifest.index,
        )
        change_index(folder, manifest, index)
        problems = {int(new[number]): problem for number, problem in embedded.problems.items()}
        return Added(len(embedded.vectors), already, problems)


def remove_rows(folder: Path, which: Callable[[pd.DataFrame], Int64[np.ndarray, "_"]]) -> int:
    """Remove rows from a gallery, and return how many; an index is built anew.

    Args:
        folder: the gallery's.
        which: of the gallery's table, the numbers of the rows to remove.
    """
    with writing(folder):
        stored = open_store(folder)
        rows = stored.rows()
        left = np.ones(len(rows), bool)
        left[which(rows)] = False
        if left.all():
            return 0
        ends = rows["thumbnail_end"].to_numpy()
        starts = np.concatenate([[0], ends[:-1]])
        kept = np.flatnonzero(left)
        manifest = write_version(
            folder,
            stored.manifest,
            vectors=(stored.vectors[kept[start : start + BLOCK]] for start in range(0, len(kept), BLOCK)),
            rows=rows.iloc[kept].assign(thumbnail_end=np.cumsum((ends - starts)[kept])),
            thumbnails=_thumbnails(stored, starts[kept], ends[kept]),
        )
        former = stored.manifest.index
        change_index(folder, manifest, "auto" if former is None else former.kind)
        return len(rows) - len(kept)


def change_index(folder: Path, manifest: Manifest, index: IndexChoice, *, recall: float = 0.99) -> None:
    """Build the index that is asked for, or remove it; `auto` leaves one that still serves, and builds where one must.

    Rows that an index does not hold are searched exactly beside it, until they are half as many as it holds.
    """
    former, rows = manifest.index, manifest.rows
    if index == "auto":
        later = rows - (0 if former is None else former.rows)
        if later <= max(EXACT_UP_TO, 0 if former is None else former.rows // 2):
            return
    kind: Kind | None = None if index == "exact" else "hnsw" if index == "hnsw" else "ivf"
    if index == "auto" and former is not None:
        kind = former.kind
    facts: IndexFacts | None = None
    if kind is not None and rows:
        vectors = open_store(folder).vectors

        def truth(queries: Float32[np.ndarray, "q d"], k: int) -> list[Int64[np.ndarray, "_"]]:
            return [answer.rows for answer in nearest_rows(vectors, queries, k=k)]

        path = folder / manifest.version / INDEX_FILE
        facts = build_index(vectors, path, kind=kind, recall=recall, truth=truth)
    if facts != former:
        write_manifest(folder, Manifest(**vars(manifest) | {"index": facts}))


def check_model(folder: Path, manifest: Manifest, model: Model) -> None:
    """Refuse a model that did not make a gallery's vectors, naming both.

    Raises:
        ValueError: where it is another.
    """
    if manifest.fingerprint != model.fingerprint:
        raise ValueError(
            f"{folder}: a gallery of the model {manifest.model} [{manifest.fingerprint}], not of {model.name} "
            f"[{model.fingerprint}], whose vectors mean something else; give that model, or index anew with this one"
        )


def thumbnail(pixels: UInt8[np.ndarray, "height_px width_px 3"]) -> bytes:
    """Return a picture as a JPEG whose sides are at most `THUMBNAIL_PX`."""
    image, stream = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _manifest(model: Model) -> Manifest:
    """The manifest of a gallery before its first rows."""
    return Manifest(
        model=model.name, fingerprint=model.fingerprint, model_file=str(model.file or ""), dimension=model.dimension,
        rows=0, version="none",
    )  # fmt: skip


def _held(before: Stored | None) -> pd.DataFrame:
    return pd.DataFrame({"path": pd.Series(dtype="object")}) if before is None else before.rows()


def _thumbnails(
    stored: Stored, starts: Int64[np.ndarray, "k"], ends: Int64[np.ndarray, "k"]
) -> Iterator[UInt8[np.ndarray, "_"]]:
    for start, end in zip(starts, ends, strict=True):
        yield stored.thumbnails[start:end]
