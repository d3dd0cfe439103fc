"""Curves over epochs (training, label quality) and CMC curves, as PNG files that render without a network."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reidlib.report.style import COLOURS, MARKERS, NEUTRAL, new_figure, save, style_axes

# column: what its panel is called, and what the values are multiplied by
TITLES: dict[str, tuple[str, float]] = {
    "loss": ("Loss (mean of the epoch)", 1),
    "clusters": ("Clusters (number)", 1),
    "outliers": ("Images left as outliers (%)", 100),
    "outlier_share": ("Images left as outliers (%)", 100),
    "silhouette": ("Silhouette of the clusters (-1 to 1)", 1),
    "images_per_second": ("Speed (images per second)", 1),
    "seconds": ("Time of the epoch (s)", 1),
    "learning_rate": ("Learning rate", 1),
    "camera_span": ("Clusters with images of several cameras (%)", 100),
    "refined_share": ("Images made outliers by refinement (%)", 100),
    "camera_probe": ("How far a probe tells the camera (%)", 100),
    "stability": ("Agreement with the epoch before (%)", 100),
    "expansion": ("Expansion (clusters per identity, 1 is best)", 1),
}
FROM_ZERO = {"loss", "clusters", "outliers", "outlier_share", "images_per_second", "seconds", "learning_rate"}
# shares that are drawn together, in percent: title of the panel, and what each column is called in its legend
GROUPS: dict[str, dict[str, str]] = {
    "Agreement with the identities (%)": {"pairwise_f": "pairwise F", "bcubed_f": "BCubed F", "nmi": "NMI"},
    "Pairwise agreement (%)": {"pairwise_precision": "precision", "pairwise_recall": "recall"},
    "BCubed agreement (%)": {"bcubed_precision": "precision", "bcubed_recall": "recall"},
}


def draw_curves(table: pd.DataFrame, path: Path, *, title: str) -> None:
    """One panel per column of the table over its column `epoch`.

    The columns of one of the GROUPS share a panel. Where the table has a column `camera` (-1 = all cameras together),
    the rows of each camera are drawn as thin lines behind. A column that holds no finite number is named in the title
    of an empty panel, never left out.

    Raises:
        ValueError: no column `epoch`, no row, or nothing to draw beside the epoch.
    """
    if "epoch" not in table.columns or len(table) == 0:
        raise ValueError(f"{path.name}: expected a table with rows and a column 'epoch', found {_description(table)}")
    grouped = [name for group in GROUPS.values() for name in group]
    panels = [[name for name in group if name in table.columns] for group in GROUPS.values()]
    panels = [names for names in panels if names]
    panels += [[name] for name in table.columns if name not in {*grouped, "epoch", "camera"}]
    if not panels:
        raise ValueError(f"{path.name}: expected columns to draw beside 'epoch', found {_description(table)}")
    figure, grid = _grid(len(panels), title=title)
    for axes, names in zip(grid, panels, strict=True):
        _draw_panel(axes, table, names)
    save(figure, path)


def draw_cmc(curves: Mapping[str, Float[np.ndarray, "_"]], path: Path, *, title: str, max_rank: int = 20) -> None:
    """CMC curves (shares of queries found by rank 1, 2, ...), one line per name, up to `max_rank`.

    Raises:
        ValueError: no curve, more curves than can be told apart, an empty one, or shares outside 0..1.
    """
    if not 1 <= len(curves) <= len(COLOURS):
        raise ValueError(
            f"{path.name}: expected 1 to {len(COLOURS)} CMC curves, found {len(curves)}: {', '.join(curves)}"
        )
    figure = new_figure(6.4, 4.6, title=title)
    axes = figure.add_subplot()
    for number, (name, curve) in enumerate(curves.items()):
        if curve.size == 0 or not np.all((curve >= 0) & (curve <= 1)):
            raise ValueError(f"{path.name}: expected shares between 0 and 1 for {name!r}, found {curve}")
        shown = 100 * curve[:max_rank]
        axes.plot(
            np.arange(1, shown.size + 1),
            shown,
            color=COLOURS[number],
            marker=MARKERS[number],
            markersize=4,
            label=f"{name}: {shown[0]:.1f} % at rank 1",
        )
    style_axes(axes)
    axes.set(xlabel="rank", ylabel="queries with a right match by this rank (%)", ylim=(0, 102))
    axes.set_xticks([1, *range(5, max_rank + 1, 5 if max_rank <= 20 else 10)])
    axes.legend(fontsize=9, frameon=False, loc="best")
    save(figure, path)


def draw_det(table: pd.DataFrame, path: Path, *, title: str) -> None:
    """Both errors against each other, logarithmically (detection error trade-off), of the table's columns.

    Rates below a thousandth of a percent, which have no end on such an axis, are drawn there.
    """
    rates = (100 * table[name].clip(lower=1e-5) for name in ("false_match_rate", "false_non_match_rate"))
    figure = new_figure(6.4, 4.6, title=title)
    axes = figure.add_subplot()
    axes.plot(*rates, color=COLOURS[0])
    style_axes(axes)
    axes.set(
        xscale="log", yscale="log", xlabel="pairs of different individuals taken for the same (%)",
        ylabel="pairs of the same taken for different (%)",
    )  # fmt: skip
    save(figure, path)


def _grid(panels: int, *, title: str) -> tuple[Figure, list[Axes]]:
    columns = {1: 1, 2: 2, 4: 2}.get(panels, 3 if panels <= 6 else 4)
    rows = -(-panels // columns)
    figure = new_figure(4.2 * columns if columns > 1 else 6.4, 2.7 * rows + 0.6, title=title)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(panels)]


def _draw_panel(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    overall = table[table["camera"] < 0] if "camera" in table.columns else table
    title, scale = TITLES.get(names[0], (names[0].replace("_", " "), 1))
    legend: dict[str, str] = {}
    for heading, group in GROUPS.items():
        if names[0] in group:
            title, scale, legend = heading, 100, group
    empty = not np.isfinite(overall[names].to_numpy(np.float64)).any()
    style_axes(axes, title=f"{title}: no value" if empty else title)
    for number, name in enumerate(names):
        if "camera" in table.columns:
            for _, rows in table[table["camera"] >= 0].groupby("camera"):
                axes.plot(rows["epoch"], scale * rows[name], color=COLOURS[number], linewidth=0.7, alpha=0.35)
        axes.plot(
            overall["epoch"],
            scale * overall[name].astype(np.float64),
            color=COLOURS[number],
            marker=MARKERS[number],
            markersize=3.5,
            label=legend.get(name),
        )
    axes.set(xlabel="epoch", xlim=(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if names[0] == "clusters":
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if legend:
        axes.set_ylim(0, 102)
        axes.legend(fontsize=8.5, frameon=False, labelcolor=NEUTRAL)
    elif names[0] in FROM_ZERO and not empty:
        axes.set_ylim(0, 1.08 * axes.dataLim.ymax or 1)


def _description(table: pd.DataFrame) -> str:
    return f"{len(table)} rows of {', '.join(map(str, table.columns)) or 'no column'}"
