"""Which pairs of images are worth a person's answer: ``reidlib ask`` asks, and keeps the answers in links.csv."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.commands.parsing import command_parser

if TYPE_CHECKING:
    import pandas as pd

    from reidlib.labels.asking import Asking

HELP = "ask which of two pictures show the same individual, those pairs first that change most"
EXAMPLE = """reidlib ask                                  # after `dvc repro`: s same, d different, k skip, q quit
reidlib ask --list pairs.csv --count 50      # only write the pairs, to answer elsewhere: fill in the answers,
reidlib ask --take pairs.csv                 # and take them
dvc exp run -S recipe=assisted_cues          # train with the answers"""
KEYS = {"s": "same", "d": "different", "k": "skip"}


def main(arguments: Sequence[str]) -> None:
    """Ask in the terminal and write each answer at once; or list the pairs, or take a list with answers."""
    parser = command_parser("ask", f"{HELP}.", EXAMPLE)
    parser.add_argument("--count", type=int, default=100, help="questions at most; 100")
    parser.add_argument("--list", type=Path, metavar="CSV", help="write the pairs instead of asking")
    parser.add_argument("--take", type=Path, metavar="CSV", help="add the answers of such a list, and ask nothing")
    chosen = parser.parse_args(arguments)
    if chosen.count < 1 or (chosen.list and chosen.take):
        parser.error("expected --count of at least 1, and --list or --take, not both")

    from reidlib.labels.asking import open_asking
    from reidlib.settings import load_params

    asking = open_asking(load_params("dataset.name", "dataset.camera_labels", "refine"))
    if chosen.take:
        print(f"{asking.file}: {asking.take(chosen.take):,} answers more, {len(asking.answers):,} in all")
    elif chosen.list:
        write_pairs(chosen.list, asking, chosen.count)
    else:
        ask(asking, chosen.count)


def write_pairs(path: Path, asking: "Asking", count: int) -> None:
    """Write the pairs to ask as a links.csv whose answers are empty."""
    from reidlib.labels.links import write_links

    pairs = asking.propose(count)
    write_links(path, [(asking.name(first), asking.name(second), "") for first, second in pairs])
    print(f"wrote {path}: {len(pairs):,} pairs; write same, different or skip in their last column, then --take it")


def ask(asking: "Asking", count: int, read: Callable[[str], str] = input) -> None:
    """Show pairs and take their answers, until enough are asked, none is left, or the person quits.

    Args:
        asking: what is known, and where answers go.
        count: questions at most.
        read: shows a text and returns what is typed.
    """
    done = 0
    todo: list[tuple[int, int]] = []
    while done < count:
        todo = todo or asking.propose()
        if not todo:
            print("no pair is left whose answer could change anything")
            break
        first, second = todo[0]
        print(f"\n{done + 1} of {count}\n  {_shown(asking.names, first)}\n  {_shown(asking.names, second)}")
        try:
            key = read("the same? s same, d different, k skip, u undo, q quit: ").strip().lower()[:1]
        except (EOFError, KeyboardInterrupt):
            print()
            break
        if key == "q":
            break
        if key == "u":
            done = max(0, done - 1) if asking.undo() else done
            todo = []
        elif key in KEYS:
            asking.answer(first, second, KEYS[key])  # type: ignore[arg-type]
            done += 1
            del todo[0]
    told = [answer for *_, answer in asking.answers]
    print(f"{asking.file}: {told.count('same'):,} same, {told.count('different'):,} different; "
          "train with them: dvc exp run -S recipe=assisted_cues")  # fmt: skip


def _shown(names: "pd.DataFrame", row: int) -> str:
    return f"{names['path'].iloc[row]}  (camera {names['camera'].iloc[row]})"
