"""Parsers of command lines that look alike: what it does, its options, an example to paste."""

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from reidlib.gallery.model import Model


def program() -> str:
    """Return how the command was called, for help: `reidlib`, or `python -m reidlib` where that was typed."""
    return "python -m reidlib" if Path(sys.argv[0]).parts[-2:] == ("reidlib", "__main__.py") else "reidlib"


def command_parser(name: str, text: str, example: str) -> argparse.ArgumentParser:
    """Return the parser of a sub-command (of all where `name` is empty), its example below its options."""
    return argparse.ArgumentParser(
        prog=f"{program()} {name}".strip(),
        description=text,
        epilog="example:\n" + textwrap.indent(example, "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_model(parser: argparse.ArgumentParser, *, default: Path | None = Path("model.safetensors")) -> None:
    """Add the options of a command that opens a model: --model, --device, --skip-bad."""
    where = default or "the one that the gallery was made with"
    parser.add_argument("--model", type=Path, default=default, help=f"a model that the pipeline trained; {where}")
    parser.add_argument("--device", help='of torch, such as "cuda:1"; the first GPU where there is one')
    parser.add_argument("--skip-bad", action="store_true", help="leave pictures out that cannot be read, and name them")


def on_bad_picture(chosen: argparse.Namespace) -> Literal["error", "skip"]:
    """Return what --skip-bad says."""
    return "skip" if chosen.skip_bad else "error"


def open_model(gallery: Path, chosen: argparse.Namespace) -> "Model":
    """Open the model of --model, or that of the gallery, or model.safetensors of the working directory."""
    from reidlib.gallery.model import load
    from reidlib.gallery.store import MANIFEST, read_manifest

    path = chosen.model
    if path is None and (gallery / MANIFEST).is_file():
        manifest = read_manifest(gallery)
        path = Path(manifest.model_file)
        if not path.is_file():
            raise ValueError(f"{gallery}: its model {manifest.model} is not at {path} any more; say where: --model")
    return load(path or "model.safetensors", device=chosen.device)
