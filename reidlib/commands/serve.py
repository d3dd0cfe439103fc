"""Who is this, in the browser: ``reidlib serve gallery/``."""

from collections.abc import Sequence
from pathlib import Path

from reidlib.commands.parsing import command_parser, gallery_place, open_gallery, open_model
from reidlib.commands.serving import add_port, serve_until_interrupted

HELP = "search a gallery in the browser, on this machine alone"
EXAMPLE = """reidlib serve gallery/                       # then open the address that it prints
reidlib serve gallery/ --open --port 0"""


def main(arguments: Sequence[str]) -> None:
    """Serve the search page of a gallery on loopback until Ctrl-C."""
    parser = command_parser("serve", f"{HELP}; nothing is uploaded anywhere, nothing kept.", EXAMPLE)
    parser.add_argument("gallery", nargs="?", type=gallery_place, default=Path("gallery"), help="its folder; gallery")
    add_port(parser)
    parser.add_argument("--open", action="store_true", help="open the page in a browser, where there is a display")
    parser.add_argument("--false-match-rate", type=float, default=0.01, metavar="RATE",
                        help="of strangers that are taken for known, where the model is calibrated; 0.01")  # fmt: skip
    parser.add_argument("--model", type=Path, help="that the pipeline trained; the one the gallery was made with")
    parser.add_argument("--device", help='of torch, such as "cuda:1"; the first GPU where there is one')
    chosen = parser.parse_args(arguments)

    from reidlib.serve.page import SearchPage
    from reidlib.serve.server import PageServer

    open_gallery(chosen.gallery, None)  # what is no gallery is told of before a model is looked for
    gallery = open_gallery(chosen.gallery, open_model(chosen.gallery, chosen))
    with PageServer(SearchPage(gallery, false_match_rate=chosen.false_match_rate), port=chosen.port) as server:
        told = f"{chosen.gallery}: {len(gallery):,} pictures; search them"
        serve_until_interrupted(server, told, opened=chosen.open)
