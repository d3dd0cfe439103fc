"""Which pairs of images are worth a person's answer: ``reidlib ask`` asks, and keeps the answers in links.csv."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.commands.parsing import command_parser
from reidlib.commands.serving import add_port, serve_until_interrupted

if TYPE_CHECKING:
    import pandas as pd

    from reidlib.labels.asking import Asking

HELP = "ask which of two pictures show the same individual, those pairs first that change most"
EXAMPLE = """reidlib ask                                  # after `dvc repro`: opens a page with the pictures
reidlib ask --terminal                       # by the names of files: s same, d different, k skip, u undo, q quit
reidlib ask --list pairs.csv --count 50      # only write the pairs, to answer elsewhere: fill in the answers,
reidlib ask --take pairs.csv                 # and take them, or those that the report's page saved
dvc exp run -S dataset=folder -S recipe=assisted_cues   # train with the answers"""
KEYS = {"s": "same", "d": "different", "k": "skip"}


def main(arguments: Sequence[str]) -> None:
    """Ask on a page in the browser, or in the terminal, and write each answer at once; or list the pairs; or take some.

    The page is opened where there is a display; without one its address is printed.
    """
    parser = command_parser("ask", f"{HELP}; on a page of this machine alone.", EXAMPLE)
    parser.add_argument("--count", type=int, default=100, help="questions at most; 100")
    parser.add_argument("--terminal", action="store_true", help="ask here, by the names of files, without pictures")
    parser.add_argument("--list", type=Path, metavar="CSV", help="write the pairs instead of asking")
    parser.add_argument("--take", type=Path, metavar="CSV", help="add the answers of such a list, and ask nothing")
    add_port(parser)
    chosen = parser.parse_args(arguments)
    if chosen.count < 1 or sum(map(bool, (chosen.terminal, chosen.list, chosen.take))) > 1:
        parser.error("expected --count of at least 1, and one of --terminal, --list and --take")

    from reidlib.labels.asking import open_asking
    from reidlib.settings import load_params

    asking = open_asking(load_params("dataset.name", "dataset.camera_labels", "refine"))
    if chosen.take:
        print(f"{asking.file}: {asking.take(chosen.take):,} answers more, {len(asking.answers):,} in all")
    elif chosen.list:
        write_pairs(chosen.list, asking, chosen.count)
    elif chosen.terminal:
        ask(asking, chosen.count)
    else:
        serve(asking, chosen.count, chosen.port)


def write_pairs(path: Path, asking: "Asking", count: int) -> None:
    """Write the pairs to ask as a links.csv whose answers are empty."""
    from reidlib.labels.links import write_links

    pairs = asking.propose(count)
    write_links(path, [(asking.name(first), asking.name(second), "") for first, second in pairs])
    print(f"wrote {path}: {len(pairs):,} pairs; write same, different or skip in their last column, then --take it")


def serve(asking: "Asking", count: int, port: int) -> None:
    """Ask on a page until Ctrl-C."""
    from reidlib.serve.asking import AskingPage
    from reidlib.serve.server import PageServer

    with PageServer(AskingPage(asking, count=count), port=port) as server:
        serve_until_interrupted(server, f"answers go to {asking.file}; the questions are asked", opened=True)
    tell(asking)


def ask(asking: "Asking", count: int, read: Callable[[str], str] = input) -> None:
    """Show pairs and take their answers, until enough are asked, none is left, or the person quits.

    Args:
        asking: what is known, and where answers go.
        count: questions at most.
        read: shows a text and returns what is typed.
    """
    done = 0
    while done < count:
        pair = asking.question()
        if pair is None:
            print("no pair is left whose answer could change anything")
            break
        print(f"\n{done + 1} of {count}\n  " + "\n  ".join(_shown(asking.names, row) for row in pair))
        try:
            key = read("the same? s same, d different, k skip, u undo, q quit: ").strip().lower()[:1]
        except (EOFError, KeyboardInterrupt):
            print()
            break
        if key == "q":
            break
        if key == "u":
            done = max(0, done - 1) if asking.undo() else done
        elif key in KEYS:
            try:
                asking.answer(*pair, KEYS[key])  # type: ignore[arg-type]
                done += 1
            except ValueError as error:  # somebody else's answers came between
                print(f"not kept: {error}")
    tell(asking)


def tell(asking: "Asking") -> None:
    """Print how many answers there are, and what to do with them."""
    told = [answer for *_, answer in asking.answers]
    print(f"{asking.file}: {told.count('same'):,} same, {told.count('different'):,} different; "
          f"train with them: {asking.training}")  # fmt: skip


def _shown(names: "pd.DataFrame", row: int) -> str:
    return f"{names['path'].iloc[row]}  (camera {names['camera'].iloc[row]})"
