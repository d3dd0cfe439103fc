"""The server of a page, by the standard library: what it listens on, and how many it serves at once.

On loopback alone. One connection, one request; `CONNECTIONS` are served at once, others wait to be accepted.
"""

import socketserver
import sys
import threading
import traceback
from typing import Any

from reidlib.serve.request import Handler, Page

LOOPBACK, PORT = "127.0.0.1", 8642
CONNECTIONS = 64


class PageServer(socketserver.ThreadingTCPServer):
    """A page on 127.0.0.1; `serve_forever` serves it, `shutdown` from another thread ends that."""

    allow_reuse_address = True  # of a server that ended a moment ago
    daemon_threads = True
    request_queue_size = 128  # that wait to be accepted

    def __init__(self, page: Page, *, port: int = PORT) -> None:
        """Listen.

        Args:
            page: what is served.
            port: 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self.page = page
        self.places = threading.BoundedSemaphore(CONNECTIONS)
        self.turn = threading.Lock()
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            raise OSError(f"port {port}: {error.strerror}; take another: --port (0: any that is free)") from error
        own = self.server_address[1]
        self.hosts = {f"{name}:{own}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own, when one of the places is free."""
        self.places.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, *_: Any) -> None:
        """Tell of an error on standard error, but of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()
