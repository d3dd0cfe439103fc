"""Parsers of command lines that look alike: what it does, its options, an example to paste."""

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from reidlib.gallery.gallery import Gallery
    from reidlib.gallery.lance import LanceGallery
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


def gallery_place(text: str) -> Path | str:
    """Return what --gallery names: a folder, or a table of LanceDB (lance://…)."""
    return text if text.startswith("lance://") else Path(text)


def open_gallery(place: Path | str, model: "Model | None") -> "Gallery | LanceGallery":
    """Open a gallery wherever its rows lie."""
    if isinstance(place, str):
        from reidlib.gallery.lance import LanceGallery

        return LanceGallery(place, model=model)
    from reidlib.gallery.gallery import Gallery

    return Gallery(place, model=model)


def open_model(gallery: Path | str, chosen: argparse.Namespace) -> "Model":
    """Open the model of --model, or that of the gallery, or model.safetensors of the working directory."""
    from reidlib.gallery.model import load
    from reidlib.gallery.store import MANIFEST

    path = chosen.model
    if path is None and (isinstance(gallery, str) or (gallery / MANIFEST).is_file()):
        manifest = open_gallery(gallery, None).manifest
        path = Path(manifest.model_file)
        if not path.is_file():
            raise ValueError(f"{gallery}: its model {manifest.model} is not at {path} any more; say where: --model")
    return load(path or "model.safetensors", device=chosen.device)
