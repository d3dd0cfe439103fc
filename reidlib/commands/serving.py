"""Pages in the browser of this machine: their port, and how they are served and opened."""

import argparse
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reidlib.serve.server import PageServer


def add_port(parser: argparse.ArgumentParser) -> None:
    """Add the option --port of a command that serves a page."""
    parser.add_argument("--port", type=_port, default=8642, help="of 127.0.0.1; 8642 (0: one that is free)")


def serve_until_interrupted(server: "PageServer", told: str, *, opened: bool) -> None:
    """Print where the page is, open it in a browser where that is wanted and there is a display, serve until Ctrl-C."""
    print(f"{told} at {server.address} (Ctrl-C ends)", flush=True)
    if opened and _has_display():
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 65536:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, found {text}")
    return int(text)


def _has_display() -> bool:
    """Return whether there is a screen that a browser can open on."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
