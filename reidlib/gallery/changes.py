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
from reidlib.gallery.model import Embedded, Model, OnBadPicture
from reidlib.gallery.pictures import Picture, list_pictures
from reidlib.gallery.rows import complete, rows_of_pictures
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
    pictures: Picture | Sequence[Picture],
    rows: pd.DataFrame | None,
    *,
    model: Model,
    on_bad_picture: OnBadPicture = "error",
    index: IndexChoice = "auto",
) -> Added:
    """Embed pictures and add them to a gallery, which is made where there is none; those that it has are left out.

    Args:
        folder: the gallery's.
        pictures: as in `Model.embed`.
        rows: of each picture path (its name), camera, time, tracklet and identity, see `gallery.rows`; without, what
            the files' folders tell.
        model: that makes the vectors.
        on_bad_picture: as in `Model.embed`.
        index: exact, or an index of this kind over all rows; auto: what is there, or HNSW beyond 100,000 rows.

    Raises:
        ValueError: a gallery of another model, pictures that cannot be read, two of one path.
        OSError: another process writes to the gallery; no room or no right to.
    """
    every = list_pictures(pictures)
    known = complete(rows_of_pictures(every, pictures) if rows is None else rows)
    _check_paths(folder, known["path"], len(every))
    with writing(folder):
        before, held = _opened(folder, model)
        new = np.flatnonzero(~known["path"].isin(held["path"]).to_numpy())
        already = len(every) - len(new)
        if already and not len(new):
            change_index(folder, before.manifest, index)
            return Added(0, already, {})
        chosen = [every[int(number)] for number in new]
        manifest, embedded = _append(before, held, chosen, known.iloc[new], model, on_bad_picture)
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
    kind: Kind | None = None if index == "exact" else "ivf" if index == "ivf" else "hnsw"
    if index == "auto" and former is not None:
        kind = former.kind
    facts: IndexFacts | None = None
    path = folder / manifest.version / INDEX_FILE
    if kind is not None and rows:
        vectors = open_store(folder).vectors

        def truth(queries: Float32[np.ndarray, "q d"], k: int) -> list[Int64[np.ndarray, "_"]]:
            return [answer.rows for answer in nearest_rows(vectors, queries, k=k)]

        facts = build_index(vectors, path, kind=kind, recall=recall, truth=truth)
    if facts != former:
        write_manifest(folder, Manifest(**vars(manifest) | {"index": facts}))
    if facts is None:
        path.unlink(missing_ok=True)


def check_model(folder: Path | str, manifest: Manifest, model: Model) -> None:
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


def _check_paths(folder: Path, paths: pd.Series, pictures: int) -> None:
    twice = paths[paths.duplicated()]
    if len(twice) or len(paths) != pictures:
        raise ValueError(
            f"{folder}: expected a row with a path of its own for each of {pictures:,} pictures, found {len(paths):,}, "
            f"twice: {listed(twice, 3)}"
        )


def _opened(folder: Path, model: Model) -> tuple[Stored, pd.DataFrame]:
    """Return a gallery of the model and its rows; where there is none yet, what one is before its first rows."""
    if (folder / MANIFEST).exists():
        stored = open_store(folder)
        check_model(folder, stored.manifest, model)
        return stored, stored.rows()
    manifest = Manifest(
        model=model.name, fingerprint=model.fingerprint, model_file=str(model.file or ""), dimension=model.dimension,
        rows=0, version="none",
    )  # fmt: skip
    nothing = Stored(manifest, folder, np.empty((0, model.dimension), np.float32), None, np.empty(0, np.uint8))
    return nothing, pd.DataFrame({"path": pd.Series(dtype="object")})


def _append(
    before: Stored,
    held: pd.DataFrame,
    pictures: Sequence[Picture],
    rows: pd.DataFrame,
    model: Model,
    on_bad_picture: OnBadPicture,
) -> tuple[Manifest, Embedded]:
    """Write a version with these pictures behind those that are there."""
    jpegs: list[bytes] = []
    embedded = model.embed_each(
        pictures, on_bad_picture=on_bad_picture, keep=lambda batch: jpegs.extend(map(thumbnail, batch))
    )
    ends = len(before.thumbnails) + np.cumsum([len(jpeg) for jpeg in jpegs])
    manifest = write_version(
        before.folder,
        before.manifest,
        vectors=[before.vectors, embedded.vectors],
        rows=pd.concat([held, rows.iloc[embedded.kept].assign(thumbnail_end=ends)], ignore_index=True),
        thumbnails=[before.thumbnails, np.frombuffer(b"".join(jpegs), np.uint8)],
        index=before.manifest.index,
    )
    return manifest, embedded


def _thumbnails(
    stored: Stored, starts: Int64[np.ndarray, "k"], ends: Int64[np.ndarray, "k"]
) -> Iterator[UInt8[np.ndarray, "_"]]:
    for start, end in zip(starts, ends, strict=True):
        yield stored.thumbnails[start:end]
