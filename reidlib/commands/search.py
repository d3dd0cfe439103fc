"""Who is this: ``reidlib search query.jpg``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reidlib.commands.parsing import add_model, command_parser, gallery_place, on_bad_picture, open_gallery, open_model

if TYPE_CHECKING:
    import pandas as pd

HELP = "find who is most like in a gallery"
EXAMPLE = """reidlib search query.jpg                     # in the folder gallery/
reidlib search queries/ --camera entrance --since 2024-05-01T08:00 --until 2024-05-01T12:00 --to answers.csv
reidlib search --row 17                      # of the gallery itself"""


def main(arguments: Sequence[str]) -> None:
    """Print, or write as CSV, the best answer of each tracklet to each query, most similar first."""
    parser = command_parser("search", f"{HELP}: the best picture of each tracklet, most similar first.", EXAMPLE)
    parser.add_argument("pictures", nargs="*", type=Path, help="pictures to search for, and folders of them")
    parser.add_argument("--row", nargs="+", type=int, default=[], help="rows of the gallery to search for instead")
    parser.add_argument(
        "--gallery", type=gallery_place, default=Path("gallery"), help="its folder, or lance://…; gallery"
    )
    parser.add_argument("-k", type=int, default=10, help="answers to each; 10")
    parser.add_argument("--camera", nargs="+", help="answers of these cameras alone")
    parser.add_argument("--since", help="no earlier answers: a number, or a time like 2024-05-01T12:30 (UTC)")
    parser.add_argument("--until", help="no later ones")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--every-picture", action="store_true", help="not the best of each tracklet alone")
    which.add_argument("--average", action="store_true", help="compare with the average of each tracklet's pictures")
    parser.add_argument("--exact", action="store_true", help="without the index, where there is one")
    parser.add_argument("--false-match-rate", type=float, default=0.01, metavar="RATE",
                        help="of strangers that are taken for known, where the model is calibrated; 0.01")  # fmt: skip
    parser.add_argument("--to", type=Path, metavar="CSV", help="write the answers instead of printing them")
    add_model(parser, default=None)
    chosen = parser.parse_args(arguments)
    if bool(chosen.pictures) == bool(chosen.row) or chosen.k < 1:
        parser.error("expected pictures (or folders of them) or --row numbers, one of the two, and -k of at least 1")

    from reidlib.gallery.pictures import files_of

    files = files_of(chosen.pictures)
    model = open_model(chosen.gallery, chosen) if files or chosen.model else None
    gallery = open_gallery(chosen.gallery, model)
    answers = gallery.search(
        chosen.row or files, k=chosen.k, cameras=chosen.camera, since=chosen.since, until=chosen.until,
        per_tracklet="average" if chosen.average else not chosen.every_picture, exact=chosen.exact,
        false_match_rate=chosen.false_match_rate, on_bad_picture=on_bad_picture(chosen),
    )  # fmt: skip
    names = {number: str(file) for number, file in enumerate(files)} if files else {}
    answers["query"] = [names.get(number, f"row {number}") for number in answers["query"]]
    if chosen.to is None:
        _print(answers)
        return
    from reidlib.tables import write_csv

    write_csv(chosen.to, answers)
    print(f"wrote {chosen.to}: {len(answers):,} answers to {answers['query'].nunique():,} queries")


def _print(answers: "pd.DataFrame") -> None:
    """Print a table for each query."""
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if answers.empty:
        console.print("no answer: nothing in the gallery passes the filters")
    for query, found in answers.groupby("query", sort=False):
        calibrated = "known" in found
        nobody = ": nobody known" if calibrated and not found["known"].any() else ""
        table = Table(title=f"{query}{nobody}", title_justify="left", title_style="bold")
        told = pd.DataFrame(
            {
                "rank": found["rank"].astype(str),
                "similarity": found["similarity"].map("{:.3f}".format),
                "P(same)": found["probability"].map("{:.3f}".format) if calibrated else "",
                "camera": found["camera"],
                "time": found["time"].map(lambda time: "" if time != time else f"{time:.10g}"),
                "tracklet": found["tracklet"],
                "identity": found["identity"],
                "path": found["path"].map(_short),
            }
        )
        shown = told.loc[:, (told != "").any()]  # of what is known of none there is no column
        for name in shown:
            number = name in ("rank", "similarity", "P(same)", "time")
            table.add_column(str(name), justify="right" if number else "left", overflow="fold")
        for row in shown.itertuples(index=False):
            table.add_row(*row)
        console.print(table)


def _short(path: str) -> str:
    """Return a path as seen from the working directory, where it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
