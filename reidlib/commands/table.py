"""The table of sub-commands, and the call of one: ``reidlib index crops/``."""

import sys
import warnings
from collections.abc import Sequence

from reidlib import __version__
from reidlib.commands import (
    ask,
    calibrate,
    compare,
    compose,
    crops,
    doctor,
    embed,
    export,
    index,
    search,
    serve,
    show,
    warm,
)
from reidlib.commands.parsing import command_parser, program

COMMANDS = {
    "crops": crops,
    "embed": embed,
    "index": index,
    "search": search,
    "serve": serve,
    "ask": ask,
    "calibrate": calibrate,
    "export": export,
    "show": show,
    "compare": compare,
    "compose": compose,
    "doctor": doctor,
    "warm": warm,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Call a sub-command, with the command line's arguments if none are given; an expected error is a line, code 1."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = command_parser("", "Re-identification without labels.", f"{program()} COMMAND --help")
    parser.add_argument("--version", action="version", version=f"reidlib {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=module.HELP, add_help=False)
    command = parser.parse_args(given[:1]).command
    warnings.showwarning = _show  # type: ignore[assignment]
    try:
        COMMANDS[command].main(given[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def _show(message: Warning | str, *_: object) -> None:
    """Tell a warning as people read it, without the line of code that gave it."""
    print(f"warning: {message}", file=sys.stderr)
