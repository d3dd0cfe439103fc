"""A request to a page: who may ask, what is read of it, what is answered.

It must name this host (another name that resolves to it is refused) and come from this page where a browser tells
(`Origin`, `Sec-Fetch-Site`); no leave is given to other pages to read the answer. Uploads are read into memory up to
`UPLOAD_BYTES`, and never written. One is answered at a time; who has waited `WAIT_SECONDS` for his turn is told to come
again.
"""

import json
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable
from urllib.parse import SplitResult, parse_qs, urlsplit

if TYPE_CHECKING:
    from reidlib.serve.server import PageServer

UPLOAD_BYTES = 16 << 20
WAIT_SECONDS, SOCKET_SECONDS, UPLOAD_SECONDS = 20.0, 10.0, 30.0
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
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
Query = Mapping[str, list[str]]


class Reply(NamedTuple):
    """What is sent back."""

    body: bytes
    kind: str
    status: HTTPStatus = HTTPStatus.OK


@runtime_checkable
class Page(Protocol):
    """What is served.

    Attributes:
        assets: files by address: the package in whose folder `assets` it lies, and its name.
        uploads: addresses at which something is sent.
    """

    assets: ClassVar[Mapping[str, tuple[str, str]]]
    uploads: ClassVar[tuple[str, ...]]

    def get(self, path: str, query: Query, /) -> Reply | None:
        """Answer what is asked at an address; None where there is nothing."""

    def post(self, path: str, query: Query, body: bytes, /) -> Reply:
        """Answer what is sent to one of `uploads`; one at a time."""


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
        """Hand the page what is sent."""
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
        if url.path in page.assets:
            package, name = page.assets[url.path]
            kind = f"{KINDS[name.rpartition('.')[2]]}; charset=utf-8"
            return Reply((resources.files(package) / "assets" / name).read_bytes(), kind)
        reply = page.get(url.path, _query(url))
        if reply is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is at this address; the page is at /")
        return reply

    def _post(self, url: SplitResult) -> Reply:
        if url.path not in self.server.page.uploads:
            raise RefusedError(HTTPStatus.NOT_FOUND, "nothing can be sent to this address")
        query, body = _query(url), self._upload()
        if not self.server.turn.acquire(timeout=WAIT_SECONDS):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "others are before you; try again in a moment")
        try:
            return self.server.page.post(url.path, query, body)
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


def as_json(values: Any, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    """Return values as JSON."""
    return Reply(json.dumps(values, allow_nan=False).encode(), "application/json", status)


def _error(status: HTTPStatus, message: str) -> Reply:
    return as_json({"error": message}, status)
