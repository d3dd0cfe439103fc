"""The metrics of every stage as one table on the terminal, and where to look next: ``reidlib show``."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reidlib.commands.compose import chosen_overrides
from reidlib.commands.parsing import command_parser
from reidlib.report.measured import read_metrics
from reidlib.report.titles import MODELS

HELP = "print what every stage measured, as `make demo` does at its end"
EXAMPLE = "reidlib show metrics"
RETRIEVAL = {"mAP": "mAP", "mINP": "mINP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10"}
TRY_NEXT = {
    "dvc repro": "runs only what a change of params.yaml, code or data asks for",
    "dvc exp run{chosen} -S train_inter.epochs=20": "the same with another value; `dvc exp show` compares. "
    "Every -S must be said again: what is not said is as in conf/",
    "dvc metrics diff": "what changed against the last commit",
}


def print_metrics(folder: Path, *, console: Console | None = None) -> None:
    """Print metrics/<stage>.json of every stage found in the folder, its pictures, what to try next, its page.

    Raises:
        ValueError: the folder holds no <stage>.json, or one of them is not a flat object of finite numbers.
    """
    console = console or Console()
    stages = read_metrics(folder)
    console.print(stage_table(stages))
    retrieval = retrieval_table(stages.get("evaluate", {}))
    if retrieval.row_count:
        console.print(retrieval)
    pictures = sorted(folder.rglob("*.png"))
    if pictures:
        console.print("\n[bold]Look at[/bold]")
    for path in pictures:
        console.print(f"  {path}", highlight=False)
    console.print("\n[bold]Try next[/bold]")
    chosen = chosen_options(folder.absolute().parent / "params.yaml")
    for command, effect in TRY_NEXT.items():
        console.print(f"  [cyan]{escape(command.format(chosen=chosen))}[/cyan]\n      {effect}", highlight=False)
    for path in sorted(folder.glob("*.html")):
        console.print(f"\n[bold]Open in a browser[/bold]\n  {path}", highlight=False)


def chosen_options(path: Path) -> str:
    """Return the options of `dvc exp run` that say what params.yaml says; nothing where there is no such file."""
    if not path.is_file():
        return ""
    try:
        overrides = chosen_overrides(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValueError:  # no Hydra here, or no conf/
        overrides = None
    if overrides is None:
        return " <the -S of the run before>"
    overrides = [override for override in overrides if not override.startswith("train_inter.epochs=")]
    return "".join(f" -S {shlex.quote(override)}" for override in overrides)


def stage_table(stages: Mapping[str, Mapping[str, int | float]]) -> Table:
    """One row per number, stages apart; the retrieval figures have a table of their own."""
    table = Table(title="What each stage measured", title_justify="left", title_style="bold")
    table.add_column("stage", style="bold")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for stage, values in stages.items():
        shown = [(name, value) for name, value in values.items() if not _is_retrieval(name)]
        for number, (name, value) in enumerate(shown):
            table.add_row("" if number else stage, name.replace("_", " "), _format(value))
        if shown:
            table.add_section()
    return table


def retrieval_table(values: Mapping[str, int | float]) -> Table:
    """Models as rows, mAP, mINP and ranks as columns, in percent; no row where evaluate measured no retrieval."""
    table = Table(title="Retrieval on query and gallery (%)", title_justify="left", title_style="bold")
    table.add_column("model", style="bold")
    for heading in RETRIEVAL.values():
        table.add_column(heading, justify="right")
    for model in dict.fromkeys(name.rsplit("_", 1)[0] for name in values if _is_retrieval(name)):
        cells = [values.get(f"{model}_{name}") for name in RETRIEVAL]
        plain = model.removesuffix("_reranked").removesuffix("_tracklets")
        how = {"_reranked": ", re-ranked", "_tracklets": ", by tracklets"}.get(model.removeprefix(plain), "")
        label = MODELS.get(plain, plain.replace("_", " ")) + how
        table.add_row(label, *["" if value is None else f"{value:.1f}" for value in cells])
    return table


def _is_retrieval(name: str) -> bool:
    return "_" in name and name.rsplit("_", 1)[1] in RETRIEVAL


def _format(value: int | float) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def main(arguments: Sequence[str]) -> None:
    """Print the metrics of a folder."""
    parser = command_parser("show", HELP, EXAMPLE)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("metrics"), help="with <stage>.json; metrics")
    print_metrics(parser.parse_args(arguments).folder)
