"""A gallery as a table of LanceDB, in a folder or on an object store: the same rows, its indexes and filters answer.

An address is `lance://`, then what LanceDB connects to (a folder, s3://…, gs://…, az://…), then the table's name:
`lance://galleries/people`, `lance://s3://bucket/galleries/people`. The table holds all that a gallery's folder does;
its vectors may outgrow any one machine, and none of them is read but those that a search asks for.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float32, Int64
from pydantic import TypeAdapter

from reidlib.files import listed
from reidlib.gallery.changes import check_model
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.index import WIDER
from reidlib.gallery.known import FALSE_MATCH_RATE, with_probabilities
from reidlib.gallery.model import Model, OnBadPicture
from reidlib.gallery.queries import Query, check_rows, model_of, query_vectors
from reidlib.gallery.rows import KNOWN
from reidlib.gallery.search import EXACT_UP_TO
from reidlib.gallery.store import Manifest
from reidlib.images.times import seconds
from reidlib.progress import progress

SCHEME = "lance://"
BLOCK = 4096  # rows that are written at a time
PROBES = 64  # parts of the index that are searched
FACTS = b"reidlib"  # in the table's metadata
MISSING = "a gallery in LanceDB needs the extra `scale`: pip install 'reidlib[scale]' (lancedb)"


def write_lance(gallery: Gallery, address: str) -> "LanceGallery":
    """Write a gallery's rows to a table, replaced as a whole where it is there, and index it where it is large.

    Raises:
        ValueError: no such place; without the extra `scale`.
    """
    database, name = _connect(address)
    vector = pa.list_(pa.float32(), gallery.manifest.dimension)
    kinds = {"row": pa.int64(), "vector": vector, "path": pa.string(), "camera": pa.string(), "time": pa.float64(),
             "tracklet": pa.string(), "identity": pa.string(), "thumbnail": pa.binary()}  # fmt: skip
    facts = TypeAdapter(Manifest).dump_json(Manifest(**vars(gallery.manifest) | {"index": None}))
    cameras = "\n".join(sorted(set(gallery.rows["camera"]))).encode()
    schema = pa.schema(list(kinds.items()), metadata={FACTS: facts, b"cameras": cameras})

    def blocks() -> Iterator[pa.RecordBatch]:
        rows = gallery.rows
        rows["time"] = rows["time"].astype(object).where(rows["time"].notna(), None)  # NaN would pass every filter
        for start in progress(range(0, len(rows), BLOCK), "writing"):
            some = rows.iloc[start : start + BLOCK]
            vectors = np.asarray(gallery.vectors[start : start + BLOCK])
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            thumbnails = [gallery.thumbnail(start + number) for number in range(len(some))]
            columns = {"row": some.index, "vector": flat, "thumbnail": thumbnails}
            columns |= {column: some[column] for column in ("path", *KNOWN)}
            arrays = [flat if column == "vector" else pa.array(columns[column], kind) for column, kind in kinds.items()]
            yield pa.record_batch(arrays, schema=schema)

    table = database.create_table(name, blocks(), schema=schema, mode="overwrite")
    if len(gallery) > EXACT_UP_TO:
        _index(table)
    return LanceGallery(address)


class LanceGallery:
    """A gallery in LanceDB, opened: searched as `Gallery` is; `write_lance` writes it anew.

    Attributes:
        folder: its address.
    """

    def __init__(self, address: str, *, model: Model | None = None) -> None:
        """Open a table that `write_lance` wrote; arguments as of `Gallery`.

        Raises:
            ValueError: no such table, one of another program or model; without the extra `scale`.
        """
        self.folder = address
        self._model = model
        database, name = _connect(address)
        try:
            self._table = database.open_table(name)
            told = self._table.schema.metadata or {}
            self.manifest = TypeAdapter(Manifest).validate_json(told[FACTS])
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise ValueError(f"{address}: no gallery ({error}); write one: reidlib index --to {address}") from error
        self._cameras = told[b"cameras"].decode().split("\n")
        if model is not None:
            check_model(address, self.manifest, model)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.manifest.rows

    @property
    def model(self) -> Model:
        """The model that made it; raises as `Gallery.model`."""
        if self._model is None:
            self._model = model_of(self.manifest, self.folder)
        return self._model

    @cached_property
    def rows(self) -> pd.DataFrame:
        """What is known of each picture, as `Gallery.rows`; the whole table but its vectors and thumbnails is read."""
        told = self._table.search().select(["row", "path", *KNOWN]).limit(len(self)).to_arrow().to_pandas()
        return told.sort_values("row", ignore_index=True).drop(columns="row")

    def thumbnail(self, row: int) -> bytes:
        """Return the picture of a row, small, as a JPEG."""
        check_rows(np.array([row]), len(self), self.folder)
        found = self._table.search().where(f"row = {row}").select(["thumbnail"]).limit(1).to_arrow()
        return bytes(found["thumbnail"][0].as_py())

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
        """Return who is most like; arguments, table and errors as of `Gallery.search`, but averages are refused."""
        if per_tracklet == "average":
            raise ValueError(f"{self.folder}: a table's tracklets are not averaged; search without --average, or in "
                             "the folder that it was written from")  # fmt: skip
        vectors, queries, own = query_vectors(
            what, manifest=self.manifest, place=self.folder, of_rows=self._vectors, model=lambda: self.model,
            on_bad_picture=on_bad_picture,
        )  # fmt: skip
        limits = self._limits(cameras, seconds(since), seconds(until))
        found = []
        for vector, number in progress(list(zip(vectors, queries.tolist(), strict=True)), "searching"):
            where = [*limits, *(self._not_own(number, per_tracklet) if own else [])]
            answers = self._nearest(vector, k=k, where=where, per_tracklet=per_tracklet, exact=exact)
            found.append(answers.assign(query=number, rank=np.arange(1, len(answers) + 1)))
        columns = ["query", "rank", "similarity", "row", "path", *KNOWN]
        table = pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)
        calibration = self._model.description.calibration if self._model else None
        return with_probabilities(table, calibration, false_match_rate=false_match_rate)

    def _nearest(
        self, vector: Float32[np.ndarray, "d"], *, k: int, where: list[str], per_tracklet: bool, exact: bool
    ) -> pd.DataFrame:
        """Return the k best rows that pass, scored anew by their whole vectors, nearest first, ties by lower row."""
        wanted = WIDER * k
        while True:
            query = self._table.search(vector, vector_column_name="vector").distance_type("dot").nprobes(PROBES)
            query = query.where(" AND ".join(where), prefilter=True) if where else query
            query = query.bypass_vector_index() if exact else query
            told = query.limit(wanted).select(["row", "vector", "path", *KNOWN, "_distance"]).to_arrow()
            vectors = np.asarray(told["vector"].combine_chunks().flatten()).reshape(-1, len(vector))
            answers = told.drop_columns(["vector", "_distance"]).to_pandas().assign(similarity=vectors @ vector)
            answers = answers.sort_values(["similarity", "row"], ascending=[False, True])
            if per_tracklet:
                again = answers.duplicated(["camera", "tracklet"]) & (answers["tracklet"] != "")
                answers = answers[~again]
            if len(answers) >= k or told.num_rows < wanted:
                return answers.head(k).reset_index(drop=True)
            wanted *= 4

    def _limits(self, cameras: Collection[str] | None, since: float, until: float) -> list[str]:
        """Return the limits as conditions of SQL."""
        conditions = []
        if cameras is not None:
            if strange := set(cameras) - set(self._cameras):
                raise ValueError(
                    f"{self.folder}: expected cameras among {listed(self._cameras)}; found {listed(strange)}"
                )
            names = ", ".join(map(_quoted, sorted(cameras)))
            conditions.append(f"camera IN ({names})" if cameras else "false")
        conditions += [] if np.isnan(since) else [f"time >= {since!r}"]
        conditions += [] if np.isnan(until) else [f"time <= {until!r}"]
        return conditions

    def _not_own(self, row: int, per_tracklet: bool) -> list[str]:
        """Return the condition that an answer is not the row itself, nor of its tracklet."""
        [told] = self._table.search().where(f"row = {row}").select(["camera", "tracklet"]).limit(1).to_list()
        if not per_tracklet or not told["tracklet"]:
            return [f"row != {row}"]
        return [f"NOT (camera = {_quoted(told['camera'])} AND tracklet = {_quoted(told['tracklet'])})"]

    def _vectors(self, rows: Int64[np.ndarray, "q"]) -> Float32[np.ndarray, "q d"]:
        numbers = ", ".join(map(str, rows.tolist()))
        found = self._table.search().where(f"row IN ({numbers})").select(["row", "vector"]).limit(len(rows)).to_arrow()
        vectors = dict(zip(found["row"].to_pylist(), found["vector"].to_pylist(), strict=True))
        return np.array([vectors[row] for row in rows.tolist()], np.float32).reshape(-1, self.manifest.dimension)


def _index(table: Any) -> None:
    """Build the table's indexes: of vectors in eight bits a number, of rows, cameras and times."""
    from lancedb.index import Bitmap, BTree, IvfSq

    table.create_index("vector", config=IvfSq(distance_type="dot"))
    table.create_index("row", config=BTree())
    table.create_index("camera", config=Bitmap())
    table.create_index("time", config=BTree())


def _connect(address: str) -> tuple[Any, str]:
    place, _, name = address.removeprefix(SCHEME).rpartition("/")
    if not address.startswith(SCHEME) or not place or not name:
        raise ValueError(f"expected {SCHEME}PLACE/NAME, such as lance://s3://bucket/galleries/people, found {address}")
    try:
        import lancedb
    except ImportError as error:
        raise ValueError(f"{address}: {MISSING}") from error
    return lancedb.connect(place), name


def _quoted(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"
