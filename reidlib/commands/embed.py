"""Pictures to vectors: ``reidlib embed crops/ --to crops.npy``."""

from collections.abc import Sequence
from pathlib import Path

from reidlib.commands.parsing import add_model, command_parser, on_bad_picture

HELP = "turn pictures into vectors"
EXAMPLE = "reidlib embed crops/ --model model.safetensors --to crops.npy"


def main(arguments: Sequence[str]) -> None:
    """Write a vector for each picture as .npy, and the pictures' paths, a line each, beside it as .txt."""
    text = f"{HELP}: float32, a row of norm 1 for each, in the order of the paths in the .txt beside"
    parser = command_parser("embed", text, EXAMPLE)
    parser.add_argument("pictures", nargs="+", type=Path, help="pictures, and folders of them")
    parser.add_argument("--to", type=Path, required=True, help="the .npy to write")
    add_model(parser)
    chosen = parser.parse_args(arguments)
    if chosen.to.suffix != ".npy":
        parser.error(f"--to: expected a name that ends with .npy, found {chosen.to}")

    from reidlib.files import atomic_file
    from reidlib.gallery.model import load
    from reidlib.gallery.pictures import files_of
    from reidlib.tables import write_array

    model, files = load(chosen.model, device=chosen.device), files_of(chosen.pictures)
    embedded = model.embed_each(files, on_bad_picture=on_bad_picture(chosen))
    with atomic_file(chosen.to.with_suffix(".txt")) as paths:
        paths.write_text("".join(f"{files[number]}\n" for number in embedded.kept), encoding="utf-8")
        write_array(chosen.to, embedded.vectors)
    print(f"wrote {chosen.to}: {len(embedded.vectors):,} vectors of length {model.dimension}")
