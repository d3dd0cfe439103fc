"""A gallery: pictures' vectors with what is known of them, to be added to, and searched by pictures or rows.

::

    model = reidlib.load("model.safetensors")
    gallery = reidlib.Gallery.create("gallery", model, "crops/")
    gallery.search("query.jpg")          # a table: similarity, path, camera, time, tracklet, identity
"""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64, Integer

from reidlib.gallery.averages import nearest_tracklets
from reidlib.gallery.changes import Added, IndexChoice, add_pictures, change_index, check_model, remove_rows
from reidlib.gallery.index import INDEX_FILE, Index, open_index
from reidlib.gallery.known import FALSE_MATCH_RATE, with_probabilities
from reidlib.gallery.model import Model, OnBadPicture
from reidlib.gallery.pictures import Picture
from reidlib.gallery.queries import Query, check_rows, model_of, query_vectors
from reidlib.gallery.rows import KNOWN, filtered, row_numbers, tracklet_groups
from reidlib.gallery.search import EXACT_UP_TO, Among, Nearest, nearest_rows
from reidlib.gallery.store import Manifest, Stored, open_store, writing
from reidlib.images.times import seconds


class Gallery:
    """A gallery's folder, opened; what is in it is read when it is asked for.

    Attributes:
        folder: where it lies.
        vectors: float32 (n, d), unit-norm, a memory map.
    """

    def __init__(self, folder: str | Path, *, model: Model | None = None) -> None:
        """Open a gallery.

        Args:
            folder: where it lies.
            model: that made it, to search by pictures and to add some; without, the file that made it is loaded from
                where it lay, when it is needed.

        Raises:
            ValueError: no gallery, a damaged one, or one of another model.
        """
        self.folder = Path(folder)
        self._model = model
        self._open()
        if model is not None:
            check_model(self.folder, self.manifest, model)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        model: Model,
        pictures: Picture | Sequence[Picture],
        *,
        rows: pd.DataFrame | None = None,
        on_bad_picture: OnBadPicture = "error",
        index: IndexChoice = "auto",
    ) -> "Gallery":
        """Make a gallery of pictures, or add them to the one that is there; arguments as in `add`."""
        add_pictures(Path(folder), pictures, rows, model=model, on_bad_picture=on_bad_picture, index=index)
        return cls(folder, model=model)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.manifest.rows

    @property
    def manifest(self) -> Manifest:
        """What gallery.json says: the model, the index and its recall."""
        return self._stored.manifest

    @property
    def vectors(self) -> Float32[np.ndarray, "n d"]:
        """The vectors, a read-only memory map."""
        return self._stored.vectors

    @property
    def rows(self) -> pd.DataFrame:
        """What is known of each picture: path, camera, time (a number, NaN: unknown), tracklet, identity (or empty)."""
        return self._table.drop(columns="thumbnail_end")

    @property
    def model(self) -> Model:
        """The model that made it.

        Raises:
            ValueError: where it does not lie there any more, or is another by now.
        """
        if self._model is None:
            self._model = model_of(self.manifest, self.folder)
        return self._model

    def thumbnail(self, row: int) -> bytes:
        """Return the picture of a row, small, as a JPEG."""
        check_rows(np.array([row]), len(self), self.folder)
        ends = self._table["thumbnail_end"]
        return self._stored.thumbnails[0 if row == 0 else ends[row - 1] : ends[row]].tobytes()

    def add(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        rows: pd.DataFrame | None = None,
        on_bad_picture: OnBadPicture = "error",
        index: IndexChoice = "auto",
    ) -> Added:
        """Add pictures; those whose path it has are left out.

        Args:
            pictures: as in `Model.embed`.
            rows: path, camera, time, tracklet and identity of each; of a folder's pictures its folders tell them.
            on_bad_picture: as in `Model.embed`.
            index: see `changes.add_pictures`.

        Raises:
            ValueError: pictures that cannot be read, pictures without paths and rows.
            OSError: another process writes to the gallery; no room or no right to.
        """
        added = add_pictures(self.folder, pictures, rows, model=self.model, on_bad_picture=on_bad_picture, index=index)
        self._open()
        return added

    def remove(self, what: Sequence[int] | Sequence[str | Path] | Integer[np.ndarray, "_"]) -> int:
        """Remove rows by their numbers, or by paths of pictures and folders, and return how many.

        Raises:
            ValueError: a row or a path that is not there.
        """
        removed = remove_rows(self.folder, lambda rows: row_numbers(rows, what, where=self.folder))
        self._open()
        return removed

    def build_index(self, kind: IndexChoice, *, recall: float = 0.99) -> None:
        """Build an index of this kind that reaches this recall if any search does, or remove it (`exact`)."""
        with writing(self.folder):
            change_index(self.folder, open_store(self.folder).manifest, kind, recall=recall)
        self._open()

    def search(
        self,
        what: Query,
        *,
        k: int = 10,
        cameras: Collection[str] | None = None,
        since: str | float | None = None,
        until: str | float | None = None,
        per_tracklet: bool | Literal["average"] = True,
        exact: bool = False,
        false_match_rate: float = FALSE_MATCH_RATE,
        on_bad_picture: OnBadPicture = "error",
    ) -> pd.DataFrame:
        """Return who is most like: for each query at most k rows, most similar first.

        Args:
            what: pictures, as `Model.embed` takes them; vectors of `Model.embed` (float32, two axes); or rows of the
                gallery, by number, which are then no answers, nor are their tracklets.
            k: answers to each.
            cameras: those whose rows may be answers; all without.
            since: the earliest time of an answer, a number or ISO 8601; rows of unknown time are none then.
            until: the latest.
            per_tracklet: the best picture of each alone; `average`: as `nearest_tracklets`, and without probability.
            exact: even where there is an index.
            false_match_rate: of strangers that are taken for known, where the model is calibrated.
            on_bad_picture: as in `Model.embed`.

        Returns:
            query (number of the picture, the vector or the row), rank (from 1), similarity (cosine), row, and the row's
            path, camera, time, tracklet and identity; where a calibrated model was given, or loaded for the pictures,
            also probability and known (`reidlib.gallery.known`).

        Raises:
            ValueError: pictures that cannot be read, vectors of another length, rows or a camera that are not there.
        """
        vectors, queries, own = query_vectors(
            what, manifest=self.manifest, place=self.folder, of_rows=lambda rows: np.asarray(self.vectors[rows]),
            model=lambda: self.model, on_bad_picture=on_bad_picture,
        )  # fmt: skip
        of_rows, times = self._filters
        first, last = seconds(since), seconds(until)
        chosen = filtered(of_rows, times, cameras=cameras, since=first, until=last, where=self.folder)
        mine = queries if own else None
        if per_tracklet == "average":
            tracklets = nearest_tracklets(self.vectors, vectors, k=k, groups=self._groups, chosen=chosen, own=mine)
            return self._answers(queries, tracklets)
        groups = self._groups if per_tracklet else None
        among = Among(chosen, groups, None if exact or len(self) <= EXACT_UP_TO else self._index)
        answers = nearest_rows(self.vectors, vectors, k=k, among=among, own=mine)
        calibration = self._model.description.calibration if self._model else None
        return with_probabilities(self._answers(queries, answers), calibration, false_match_rate=false_match_rate)

    def _open(self) -> None:
        self._stored: Stored = open_store(self.folder)
        for name in ("_table", "_filters", "_groups", "_index"):
            self.__dict__.pop(name, None)

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self._stored.rows()

    @cached_property
    def _filters(self) -> tuple[pd.Categorical, Float64[np.ndarray, "n"]]:
        return pd.Categorical(self._table["camera"]), self._table["time"].to_numpy(np.float64)

    @cached_property
    def _groups(self) -> Int64[np.ndarray, "n"]:
        return tracklet_groups(self._table)

    @cached_property
    def _index(self) -> Index | None:
        facts = self.manifest.index
        return None if facts is None else open_index(self.folder / self.manifest.version / INDEX_FILE, facts)

    def _answers(self, queries: Int64[np.ndarray, "q"], answers: Sequence[Nearest]) -> pd.DataFrame:
        counts = [len(answer.rows) for answer in answers]
        rows = np.concatenate([np.empty(0, np.int64), *(answer.rows for answer in answers)])
        ranks = [np.arange(1, count + 1) for count in counts]
        found = {
            "query": np.repeat(queries, counts),
            "rank": np.concatenate([np.empty(0, np.int64), *ranks]),
            "similarity": np.concatenate([np.empty(0, np.float32), *(answer.similarities for answer in answers)]),
            "row": rows,
        }
        return pd.DataFrame(found | {name: self._table[name].array.take(rows) for name in ("path", *KNOWN)})
