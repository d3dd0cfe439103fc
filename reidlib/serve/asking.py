"""A page that asks a person whether two pictures show the same individual, and keeps each answer in links.csv.

An answer names its pair, and is taken of the pair that was shown last alone: of two that are under way, or of two
windows, the second one is refused. Whatever is sent bears the token that the page was told, which no other page can
read.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import PurePosixPath
from secrets import compare_digest, token_urlsafe
from threading import Lock
from typing import Any, ClassVar, get_args

from reidlib.labels.asking import Asking, Side
from reidlib.labels.links import Answer
from reidlib.labels.questions import Pair
from reidlib.report.questions import strips
from reidlib.report.thumbnails import webp
from reidlib.serve.request import Query, RefusedError, Reply, as_json
from reidlib.serve.words import are_dates, time_in_words

ANSWERS: tuple[Answer, ...] = get_args(Answer)
PICTURE = (512, 90)  # height in pixels, at most, and quality


class AskingPage:
    """The questions of a dataset, as the page asks them.

    Attributes:
        asking: what is asked, and where answers go.
        count: questions at most, of this page.
    """

    assets: ClassVar[Mapping[str, tuple[str, str]]] = {
        "/": ("reidlib.serve", "ask.html"),
        "/ask.js": ("reidlib.serve", "ask.js"),
        "/make.js": ("reidlib.report", "make.js"),
        "/asking.js": ("reidlib.report", "asking.js"),
        "/look.css": ("reidlib.report", "look.css"),
    }
    uploads: ClassVar[tuple[str, ...]] = ("/answer", "/undo")

    def __init__(self, asking: Asking, *, count: int) -> None:
        """Find the first question.

        Raises:
            ValueError: the answers that there are contradict each other, with the chain.
        """
        self.asking, self.count = asking, count
        self._token, self._lock = token_urlsafe(), Lock()
        self._shown: Pair | None = None
        self._given = 0  # answers to this page
        self._before: int | None = None  # clusters, when it was opened
        self._dates = are_dates(asking.split.times)
        self.state()

    def get(self, path: str, _query: Query, /) -> Reply | None:
        """Return the state, or a picture by its row."""
        if path == "/state":
            with self._lock:
                return as_json(self.state() | {"token": self._token})
        if found := re.fullmatch(r"/picture/([0-9]{1,12})", path):
            row, images = int(found[1]), self.asking.split.images
            if row >= len(images):
                raise ValueError(f"expected rows 0..{len(images) - 1}, found {row}")
            height, quality = PICTURE
            return Reply(webp(images[row], height_px=height, quality=quality), "image/webp")
        return None

    def post(self, path: str, _query: Query, body: bytes, /) -> Reply:
        """Keep an answer, or take the newest one back; return the state after that."""
        pair, answer = self._sent(body)
        with self._lock:
            if path == "/undo":
                self._undo(pair)
            else:
                self._answer(pair, answer)
            return as_json(self.state())

    def state(self) -> dict[str, Any]:
        """Return the question to ask, if any, and how far it has come.

        Returns:
            question: the pair, and for each side its row, name, what is told of it, and strips of further pictures;
            given and count: of this page; answers: how many of each kind links.csv holds; last: the newest one;
            clusters: how many there are by the answers, and how many there were when the page was opened; file;
            training: the command that trains with the answers.
        """
        self._shown = self.asking.question() if self._given < self.count else None
        told = [answer for *_, answer in self.asking.answers]
        last = self.asking.answered[-1] if self.asking.answered else None
        clusters = int(self.asking.merges.labels.max(initial=-1)) + 1
        self._before = clusters if self._before is None else self._before
        return {
            "question": self._question(self._shown) if self._shown else None,
            "given": self._given,
            "count": self.count,
            "answers": {answer: told.count(answer) for answer in ANSWERS},
            "last": [last.first, last.second] if last else None,
            "clusters": {"now": clusters, "before": self._before},
            "file": str(self.asking.file),
            "training": self.asking.training,
        }

    def _sent(self, body: bytes) -> tuple[Pair, Any]:
        try:
            sent = json.loads(body)
            pair, token = (int(sent["first"]), int(sent["second"])), str(sent["token"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ValueError("expected JSON with token, first and second (rows of the pair), and answer") from error
        if not compare_digest(token.encode(), self._token.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Not kept: the server was started anew, and asks this now.")
        return pair, sent.get("answer")

    def _answer(self, pair: Pair, answer: Any) -> None:
        if answer not in ANSWERS:
            raise ValueError(f"expected an answer among {', '.join(ANSWERS)}, found {answer!r}")
        if pair != self._shown:
            raise RefusedError(HTTPStatus.CONFLICT, "Not kept: this pair is not asked any more.")
        try:
            self.asking.answer(*pair, answer)
        except ValueError as error:
            raise RefusedError(HTTPStatus.CONFLICT, f"Not kept. {error}") from error
        self._given += 1

    def _undo(self, pair: Pair) -> None:
        self.asking.read()
        last = self.asking.answered[-1] if self.asking.answered else None
        if last is None or pair != last[:2]:
            raise RefusedError(HTTPStatus.CONFLICT, "Nothing was taken back: this is not the newest answer any more.")
        self.asking.undo()
        self._given = max(0, self._given - 1)

    def _question(self, pair: Pair) -> dict[str, Any]:
        sides = self.asking.sides(pair)
        return {"first": pair[0], "second": pair[1], "sides": [self._side(side) for side in sides]}

    def _side(self, side: Side) -> dict[str, Any]:
        further = [
            {"title": title, "total": total, "pictures": [self._picture(row) for row in rows.tolist()]}
            for title, rows, total in strips(side)
        ]
        return {**self._picture(side.row), "strips": further}

    def _picture(self, row: int) -> dict[str, Any]:
        names = self.asking.names.iloc[row]
        told = {
            "camera": str(names["camera"]),
            "tracklet": str(names["tracklet"]),
            "time": time_in_words(float(self.asking.split.times[row]), dates=self._dates),
        }
        name = PurePosixPath(str(names["path"])).name
        return {"source": f"/picture/{row}", "name": name, "path": str(names["path"]),
                "told": [[word, text] for word, text in told.items() if text]}  # fmt: skip
