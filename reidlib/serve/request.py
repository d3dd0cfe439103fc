"""A request to the search page: who may ask, what is read of it, what is answered.

It must name this host (another name that resolves to it is refused) and come from this page where a browser tells
(`Origin`, `Sec-Fetch-Site`); no leave is given to other pages to read the answer. Uploads are read into memory up to
`UPLOAD_BYTES`, and never written. One search is made at a time; who has waited `WAIT_SECONDS` for his turn is told to
come again.
"""

import json
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from reidlib.serve.page import asked

if TYPE_CHECKING:
    from reidlib.serve.server import PageServer

UPLOAD_BYTES = 16 << 20
WAIT_SECONDS, SOCKET_SECONDS, UPLOAD_SECONDS = 20.0, 10.0, 30.0
ASSETS = {
    "/": ("reidlib.serve", "page.html", "text/html; charset=utf-8"),
    "/page.js": ("reidlib.serve", "page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("reidlib.serve", "page.css", "text/css; charset=utf-8"),
    "/look.css": ("reidlib.report", "look.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class Reply(NamedTuple):
    """What is sent back."""

    body: bytes
    kind: str
    status: HTTPStatus = HTTPStatus.OK


class RefusedError(Exception):
    """A request that is not served, and why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: "PageServer"
    timeout = SOCKET_SECONDS
    server_version, sys_version = "reidlib", ""
    unread = 0  # bytes of an upload

    def do_GET(self) -> None:
        """Answer with an asset, or with what the page asks for."""
        self._serve(self._get)

    def do_POST(self) -> None:
        """Search."""
        self._serve(self._post)

    def send_error(self, code: int, message: str | None = None, *_: Any) -> None:
        """Send what the standard library found wrong with a request, as all else is sent."""
        status = HTTPStatus(code)
        self._send(_error(status, message or status.phrase))

    def log_message(self, *_: Any) -> None:
        """Keep no log: what people look for is nobody's business."""

    def _serve(self, answer: Callable[[SplitResult], Reply]) -> None:
        length = self.headers.get("Content-Length", "0")
        self.unread = int(length) if length.isdecimal() and len(length) < 16 else 1 << 60
        try:
            self._check_who_asks()
            reply = answer(urlsplit(self.path))
        except RefusedError as error:
            reply = _error(error.status, str(error))
        except (ValueError, OSError) as error:
            reply = _error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:  # a fault of ours: one request is lost, the server goes on
            traceback.print_exc()
            reply = _error(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its terminal says how")
        self._send(reply)
        self._drain()

    def _check_who_asks(self) -> None:
        """Refuse what does not come from this page, or by another name than this host's."""
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, f"this page is at {self.server.address} alone")
        foreign = origin is not None and origin.removeprefix("http://") not in self.server.hosts
        site = self.headers.get("Sec-Fetch-Site", "none")
        if foreign or (site not in ("none", "same-origin") and urlsplit(self.path).path != "/"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "other pages may not ask this one")

    def _get(self, url: SplitResult) -> Reply:
        page = self.server.page
        if url.path in ASSETS:
            package, name, kind = ASSETS[url.path]
            return Reply((resources.files(package) / "assets" / name).read_bytes(), kind)
        if url.path == "/facts":
            return _json(page.facts() | {"upload_bytes": UPLOAD_BYTES})
        if url.path == "/pictures":
            return _json(page.pictures(asked(_query(url))))
        if found := re.fullmatch(r"/context/([0-9]{1,12})", url.path):
            return _json(page.context(int(found[1])))
        if found := re.fullmatch(r"/thumbnail/([0-9]{1,12})", url.path):
            return Reply(page.gallery.thumbnail(int(found[1])), "image/jpeg")
        raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is at this address; the page is at /")

    def _post(self, url: SplitResult) -> Reply:
        if url.path != "/search":
            raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is searched at this address, but at /search")
        query = _query(url)
        row = query.pop("row", None)
        wanted, picture = asked(query), self._upload()
        if row is None and not picture:
            raise ValueError("expected a picture, found an empty file")
        if not self.server.turn.acquire(timeout=WAIT_SECONDS):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "many are searching; try again in a moment")
        try:
            return _json(self.server.page.search(picture if row is None else int(row[0]), wanted))
        finally:
            self.server.turn.release()

    def _upload(self) -> bytes:
        """Read the request's body."""
        if not self.headers.get("Content-Length", "").isdecimal() or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected an upload that tells its length")
        if self.unread > UPLOAD_BYTES:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the picture is over {UPLOAD_BYTES >> 20} MiB; save it smaller, or search for it by the command line",
            )
        data, until = bytearray(), monotonic() + UPLOAD_SECONDS
        while self.unread:
            part = self.rfile.read1(min(self.unread, 1 << 16))
            if not part:
                raise ConnectionAbortedError("the upload ended early")
            if monotonic() > until:
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, f"the upload took over {UPLOAD_SECONDS:g} seconds")
            data += part
            self.unread -= len(part)
        return bytes(data)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (HEADERS | {"Content-Type": reply.kind, "Content-Length": str(len(reply.body))}).items():
            self.send_header(name, value)
        if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "2")
        self.end_headers()
        self.wfile.write(reply.body)

    def _drain(self) -> None:
        """Read on for a while where an upload was refused: a connection closed before that would lose the answer."""
        until, left = monotonic() + 2, min(self.unread, 8 * UPLOAD_BYTES)
        self.connection.settimeout(1)
        with suppress(OSError):
            while left > 0 and monotonic() < until and (part := self.rfile.read1(1 << 16)):
                left -= len(part)


def _query(url: SplitResult) -> dict[str, list[str]]:
    return parse_qs(url.query, keep_blank_values=True, max_num_fields=2000)


def _json(values: Any, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    return Reply(json.dumps(values, allow_nan=False).encode(), "application/json", status)


def _error(status: HTTPStatus, message: str) -> Reply:
    return _json({"error": message}, status)
