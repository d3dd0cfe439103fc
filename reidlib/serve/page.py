"""What the search page asks of a gallery, answered as values for JSON: facts, pictures, answers, a context."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from reidlib.archives.decode import decode
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.known import FALSE_MATCH_RATE
from reidlib.gallery.lance import LanceGallery
from reidlib.gallery.pictures import MAX_MEGAPIXELS
from reidlib.gallery.rows import filtered
from reidlib.images.times import seconds
from reidlib.serve import request
from reidlib.serve.request import Query, Reply, as_json
from reidlib.serve.words import LIKELY, are_dates, as_csv, in_words, time_in_words, verdict

MOST = 200  # answers to a search, or pictures of a list
BEFORE_AND_AFTER = 8  # pictures of the same camera


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a search or a list is limited to; see `Gallery.search`."""

    cameras: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None
    count: int = 20
    offset: int = 0
    per_tracklet: bool = True

    def __post_init__(self) -> None:
        """Refuse counts that nobody can look at.

        Raises:
            ValueError: for those.
        """
        if not 1 <= self.count <= MOST or self.offset < 0:
            raise ValueError(f"expected 1 to {MOST} pictures from the first on, found {self.count} from {self.offset}")


def asked(query: Mapping[str, Sequence[str]]) -> Asked:
    """Return what a query string asks: camera (any number of them), since, until, count, offset, every (picture).

    Raises:
        ValueError: for what is no number.
    """
    first = {name: values[0] for name, values in query.items()}
    cameras = tuple(query["camera"]) if "camera" in query else None
    return Asked(
        cameras=cameras, since=first.get("since"), until=first.get("until"), count=int(first.get("count", "20")),
        offset=int(first.get("offset", "0")), per_tracklet="every" not in first,
    )  # fmt: skip


class SearchPage:
    """A gallery, as the page asks it.

    Attributes:
        gallery: opened with its model.
        false_match_rate: of pairs of strangers that are taken for the same, where the model is calibrated.
    """

    assets: ClassVar[Mapping[str, tuple[str, str]]] = {
        "/": ("reidlib.serve", "page.html"),
        "/page.js": ("reidlib.serve", "page.js"),
        "/page.css": ("reidlib.serve", "page.css"),
        "/look.css": ("reidlib.report", "look.css"),
    }
    uploads: ClassVar[tuple[str, ...]] = ("/search",)

    def __init__(self, gallery: Gallery | LanceGallery, *, false_match_rate: float = FALSE_MATCH_RATE) -> None:
        """Read the rows and search once, so that the first search of a person is as quick as the next.

        Raises:
            ValueError: a damaged gallery, a model that does not tell the size of its pictures, a rate that its
                calibration cannot tell.
        """
        self.gallery = gallery
        self.false_match_rate = false_match_rate
        self._rows = gallery.rows
        self._cameras = pd.Categorical(self._rows["camera"])
        black = np.zeros((*gallery.model.size_px, 3), np.uint8)
        gallery.search([black], k=1, false_match_rate=false_match_rate)

    def get(self, path: str, query: Query, /) -> Reply | None:
        """Answer what the page asks, see `request.Page`."""
        if path == "/facts":
            return as_json(self.facts() | {"upload_bytes": request.UPLOAD_BYTES})
        if path == "/pictures":
            return as_json(self.pictures(asked(query)))
        if found := re.fullmatch(r"/context/([0-9]{1,12})", path):
            return as_json(self.context(int(found[1])))
        if found := re.fullmatch(r"/thumbnail/([0-9]{1,12})", path):
            return Reply(self.gallery.thumbnail(int(found[1])), "image/jpeg")
        return None

    def post(self, _path: str, query: Query, body: bytes, /) -> Reply:
        """Search for an uploaded picture, or for `row` of the gallery."""
        if "row" not in query and not body:
            raise ValueError("expected a picture, found an empty file")
        return as_json(self.search(int(query["row"][0]) if "row" in query else body, asked(query)))

    def facts(self) -> dict[str, Any]:
        """Return what the gallery is: its model, how many pictures, its cameras and from when to when."""
        counts = self._rows["camera"].value_counts().sort_index()
        known = self._times[~np.isnan(self._times)]
        return {
            "gallery": str(self.gallery.folder),
            "model": self.gallery.manifest.model,
            "calibrated": self.gallery.model.description.calibration is not None,
            "pictures": len(self._rows),
            "cameras": [{"name": str(name), "pictures": int(count)} for name, count in counts.items() if name != ""],
            "tracklets": bool((self._rows["tracklet"] != "").any()),
            "clock": self._clock,
            "first": self._time(known.min()) if len(known) else "",
            "last": self._time(known.max()) if len(known) else "",
        }

    def pictures(self, wanted: Asked) -> dict[str, Any]:
        """Return some of the gallery's pictures that pass the limits, in its order, and how many there are."""
        rows = np.flatnonzero(self._passing(wanted))
        return {"total": len(rows), "pictures": self._cards(rows[wanted.offset : wanted.offset + wanted.count])}

    def search(self, query: int | bytes, wanted: Asked) -> dict[str, Any]:
        """Return who is most like a picture of the gallery, by its row, or an uploaded picture file.

        Returns:
            answers: cards with similarity, probability, words and known: whether it is likely the same, and passes
            the threshold; verdict: a sentence; nobody: whether none is known; csv: the answers as a table.

        Raises:
            ValueError: what is no picture, one over the pipeline's limits, a row or camera that is not there.
        """
        found = self.gallery.search(
            query if isinstance(query, int) else [self._pixels(query)],
            k=wanted.count, cameras=wanted.cameras, since=wanted.since, until=wanted.until,
            per_tracklet=wanted.per_tracklet, false_match_rate=self.false_match_rate,
        )  # fmt: skip
        told = self._cards(found["row"].to_numpy())
        likely: list[float | None] = found["probability"].tolist() if "probability" in found else [None] * len(found)
        passes: list[bool] = found["known"].tolist() if "known" in found else [False] * len(found)
        for card, similarity, chance, passed in zip(told, found["similarity"].tolist(), likely, passes, strict=True):
            words = "" if chance is None else in_words(chance)
            known = passed and chance is not None and chance >= LIKELY
            card |= {"similarity": similarity, "probability": chance, "known": known, "words": words}
        return {
            "answers": told,
            "nobody": bool(told) and "known" in found and not any(card["known"] for card in told),
            "verdict": verdict(likely, passes, false_match_rate=self.false_match_rate),
            "csv": as_csv(found.drop(columns="query")),
        }

    def context(self, row: int) -> dict[str, Any]:
        """Return a picture with those around it: its tracklet's, and its camera's before and after it.

        They are in order of time where it is known, else in the gallery's.

        Raises:
            ValueError: a row that is not there.
        """
        if not 0 <= row < len(self._rows):
            raise ValueError(f"expected rows 0..{len(self._rows) - 1}, found {row}")
        of_camera = np.flatnonzero(self._cameras.codes == self._cameras.codes[row])
        if not np.isnan(self._times[row]):
            of_camera = of_camera[~np.isnan(self._times[of_camera])]
            of_camera = of_camera[np.argsort(self._times[of_camera], kind="stable")]
        tracklet = self._rows["tracklet"].iloc[row]
        mine = of_camera[(self._rows["tracklet"].iloc[of_camera] == tracklet).to_numpy()] if tracklet else np.array([])
        place = int(np.flatnonzero(of_camera == row)[0])
        around = of_camera[max(0, place - BEFORE_AND_AFTER) : place + BEFORE_AND_AFTER + 1]
        return {
            "picture": self._cards(np.array([row]))[0],
            "tracklet": {"total": len(mine), "pictures": self._cards(mine[:MOST].astype(np.int64))},
            "camera": {"total": len(of_camera), "pictures": self._cards(around)},
        }

    @cached_property
    def _times(self) -> Float64[np.ndarray, "n"]:
        return self._rows["time"].to_numpy(np.float64)

    @cached_property
    def _clock(self) -> bool:
        return are_dates(self._times)

    def _time(self, time: float) -> str:
        return time_in_words(time, dates=self._clock)

    def _passing(self, wanted: Asked) -> Bool[np.ndarray, "n"]:
        passing = filtered(
            self._cameras, self._times, cameras=wanted.cameras, since=seconds(wanted.since),
            until=seconds(wanted.until), where=self.gallery.folder,
        )  # fmt: skip
        return np.ones(len(self._rows), bool) if passing is None else passing

    def _cards(self, rows: Int64[np.ndarray, "_"]) -> list[dict[str, Any]]:
        told = self._rows.iloc[rows]
        names = ["path", "camera", "tracklet", "identity"]
        texts = told[names].astype(str).to_numpy().tolist()
        return [
            {"row": int(row), "time": self._time(time), "name": re.split(r"[/\\]", text[0])[-1],
             **dict(zip(names, text, strict=True))}
            for row, time, text in zip(rows, told["time"], texts, strict=True)
        ]  # fmt: skip

    def _pixels(self, data: bytes) -> np.ndarray:
        height, width = self.gallery.model.size_px
        try:
            return decode(data, height_px=height, width_px=width, max_megapixels=MAX_MEGAPIXELS)
        except ValueError as error:
            raise ValueError(f"the picture cannot be read: {error}") from error
