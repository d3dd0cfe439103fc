"""What a person calls beside DVC: ``python -m reidlib compose|compare|doctor|show``."""

import argparse
import sys
from collections.abc import Sequence

from reidlib.commands import compare, compose, doctor, show

COMMANDS = {"compose": compose, "compare": compare, "doctor": doctor, "show": show}


def main(arguments: Sequence[str]) -> None:
    """Call a command with its arguments; an expected error is a line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m reidlib", description="Re-identification without labels.")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=module.HELP, add_help=False)
    command = parser.parse_args(arguments[:1]).command
    try:
        COMMANDS[command].main(arguments[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
