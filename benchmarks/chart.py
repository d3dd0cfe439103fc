"""Draws time and extra memory against the number of images, per algorithm, beside the obvious implementation.

    python -m benchmarks.chart [FOLDER]        (default: benchmarks/results)

reads every line of FOLDER/growth.jsonl and writes FOLDER/growth.png. To measure anew: `python -m
benchmarks.growth`, or any benchmark with `--json >> FOLDER/growth.jsonl`: each line is an object with `benchmark`,
`size`, `median_seconds` and `peak_extra_mib`, and, where the obvious implementation was run too, `baseline`,
`baseline_seconds` and `baseline_peak_extra_mib`; `method` and `preset` tell lines of one benchmark apart. Where several
lines measure the same, the last one counts.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from reidlib.report.style import COLOURS, MARKERS, new_figure, save, style_axes

FOLDER = Path(__file__).parent / "results"
ALGORITHMS = {  # benchmark: what the panel is called, in the order of the panels
    "knn": "exact k-nearest neighbours",
    "jaccard": "k-reciprocal Jaccard distance",
    "cluster": "clustering",
    "quality": "label quality",
    "evaluate": "mAP, mINP, CMC",
    "rerank": "re-ranking",
}
FLOOR = {"seconds": 1e-4, "mib": 1.0}  # what is less is drawn here: a log axis has no zero
VALUES = {  # ours and the obvious implementation's
    "seconds": ("median_seconds", "baseline_seconds"),
    "mib": ("peak_extra_mib", "baseline_peak_extra_mib"),
}
COLUMNS_OF_PANELS = 5
KEYS = ["benchmark", "method", "preset"]


COLUMNS = [*KEYS, "size", "baseline", *(name for names in VALUES.values() for name in names)]


def read_results(folder: Path) -> pd.DataFrame:
    """One row per measured (benchmark, method, preset, size), sorted by size; the last line of each counts."""
    lines = [
        {"source": path.name, **json.loads(line)}
        for path in [folder / "growth.jsonl"]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    rows = [line for line in lines if {"benchmark", "size", "median_seconds"} <= line.keys()]
    if not rows:
        raise ValueError(
            f"{folder}/growth.jsonl: expected lines with benchmark, size and median_seconds, found {len(lines)} others"
        )
    table = pd.DataFrame(rows).reindex(columns=pd.Index([*COLUMNS, "source"]))
    table[["method", "preset"]] = table[["method", "preset"]].fillna("")
    return table.drop_duplicates([*KEYS, "size"], keep="last").sort_values([*KEYS, "size"], ignore_index=True)


def draw_chart(table: pd.DataFrame, path: Path, *, title: str) -> None:
    """Algorithms as columns; time above, extra memory below; log-log, the same scale in a row of panels."""
    panels = [
        (benchmark, method)
        for benchmark in [*ALGORITHMS, *sorted(set(table["benchmark"]) - set(ALGORITHMS))]
        for method in sorted(table.loc[table["benchmark"] == benchmark, "method"].unique())
    ]
    columns = min(len(panels), COLUMNS_OF_PANELS)
    bands = -(-len(panels) // columns)  # each of a row of times and a row of memories
    figure = new_figure(max(3.0 * columns + 0.6, 6.4), 5.6 * bands + 0.6, title=title)
    grid = figure.subplots(2 * bands, columns, squeeze=False, sharex=True)
    for axes in grid.flat:
        axes.set_visible(False)
    for number, (benchmark, method) in enumerate(panels):
        time, memory = (
            grid[2 * (number // columns), number % columns],
            grid[2 * (number // columns) + 1, number % columns],
        )
        part = table[(table["benchmark"] == benchmark) & (table["method"] == method)]
        name = ALGORITHMS.get(benchmark, benchmark) + (f"\n{method.replace('_', ' ')}" if method else "")
        _draw_panel(time, part, "seconds", title=name)
        _draw_panel(memory, part, "mib", title="")
        time.set(ylim=_limits(table, "seconds"), ylabel="time (s)" if number % columns == 0 else "")
        memory.set(ylim=_limits(table, "mib"), ylabel="extra memory at the peak (MiB)" if number % columns == 0 else "")
        memory.set_xlabel("number of images")
        time.legend(fontsize=8, frameon=False, loc="upper left")
    save(figure, path)


def _limits(table: pd.DataFrame, unit: str) -> tuple[float, float]:
    """The same scale for all panels of a unit; room for the legend above the times."""
    values = table[list(VALUES[unit])].astype(float)
    room = 100 if unit == "seconds" else 3
    return FLOOR[unit] / 2, room * max(float(values.max().max()), FLOOR[unit])


def _draw_panel(axes: Axes, part: pd.DataFrame, unit: str, *, title: str) -> None:
    style_axes(axes, title=title)
    axes.set_visible(True)
    axes.tick_params(labelbottom=True)
    ours, theirs = VALUES[unit]
    several = part["preset"].nunique() > 1
    for number, (preset, rows) in enumerate(part.groupby("preset")):
        style = "solid" if number == 0 else "dashed"
        baseline = next(iter(rows["baseline"].dropna()), "the obvious way")
        for colour, values, label in ((0, ours, "reidlib"), (1, theirs, baseline)):
            known = rows[rows[values].notna()]
            if len(known):
                axes.plot(
                    known["size"],
                    known[values].clip(lower=FLOOR[unit]),
                    color=COLOURS[colour],
                    marker=MARKERS[colour],
                    markersize=4,
                    linestyle=style,
                    label=f"{label}, {preset}" if several else label,
                )
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    draw_chart(read_results(folder), folder / "growth.png", title="Time and extra memory against the number of images")
    print(folder / "growth.png")
