"""Line charts as SVG that a page's style colours, light and dark; in the page's text, so that it prints sharp."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from reidlib.report.templates import TEMPLATES

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 36
MOST_POINTS = 200  # of a line; more are no sharper
Line = tuple[Any, Any]  # x and y, each a sequence of numbers


@dataclass(frozen=True)
class Chart:
    """A chart: lines by name, each x and y; an axis may be logarithmic, where only what is above 0 is drawn.

    `y_range` fixes the vertical range; without, it is that of the values.
    """

    title: str
    x: str
    lines: Mapping[str, Line]
    log: bool = False
    y_range: tuple[float, float] | None = None

    def svg(self) -> Markup:
        """Draw it; empty where nothing is finite."""
        lines = {name: _kept(*line, log=self.log) for name, line in self.lines.items()}
        lines = {name: line for name, line in lines.items() if len(line[0])}
        if not lines:
            return Markup("")
        every = [np.concatenate([line[axis] for line in lines.values()]) for axis in (0, 1)]
        spans = [(float(values.min()), float(values.max())) for values in every]
        if self.y_range:
            spans[1] = self.y_range
        spans = [span if span[1] > span[0] else (span[0] - 0.5, span[1] + 0.5) for span in spans]
        ends = ((LEFT, WIDTH - RIGHT), (HEIGHT - BOTTOM, TOP))
        drawn = []
        for line in lines.values():
            x, y = (_place(line[axis], spans[axis], ends[axis]) for axis in (0, 1))
            drawn.append(" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)))
        ticks = [[(round(float(_place(np.array([value]), span, end)[0]), 1), text) for value, text in
                  ticks_of(*span, log=self.log)] for span, end in zip(spans, ends, strict=True)]  # fmt: skip
        reach, ends_at = (
            " to ".join(_number(value, self.log) for value in spans[0]),
            ", ".join(f"{name} {_number(float(line[1][-1]), self.log)}" for name, line in lines.items()),
        )
        return Markup(
            TEMPLATES.get_template("chart.svg.jinja").render(
                title=self.title, x=self.x, told=f"{self.title}: {self.x} from {reach}; at the end {ends_at}",
                lines=drawn, named=list(lines) if len(lines) > 1 else [], x_ticks=ticks[0], y_ticks=ticks[1],
                width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, top=TOP, bottom=HEIGHT - BOTTOM,
            )
        )  # fmt: skip


def ticks_of(least: float, most: float, *, log: bool = False) -> list[tuple[float, str]]:
    """Return three to seven round values of a range and their texts; of a logarithmic one (of base 10), decades.

    >>> ticks_of(0, 1)
    [(0.0, '0'), (0.2, '0.2'), (0.4, '0.4'), (0.6, '0.6'), (0.8, '0.8'), (1.0, '1')]
    >>> ticks_of(-3, 0, log=True)
    [(-3.0, '0.001'), (-2.0, '0.01'), (-1.0, '0.1'), (0.0, '1')]
    """
    power = 10.0 ** math.floor(math.log10((most - least) / 3))
    step = next(power * factor for factor in (1, 2, 5, 10) if (most - least) / (power * factor) <= 6.5)
    if log:
        step = max(1.0, math.ceil(step))
    first = math.ceil(least / step - 1e-9)
    values = [round(number * step, 12) for number in range(first, math.floor(most / step + 1e-9) + 1)]
    return [(value, _number(value, log)) for value in values]


def _number(value: float, log: bool) -> str:
    return f"{10**value if log else value:.4g}"


def _kept(x: Any, y: Any, *, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `MOST_POINTS` points that can be drawn, their logarithms where axes are logarithmic."""
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    kept = np.isfinite(across) & np.isfinite(up)
    if log:
        kept &= (across > 0) & (up > 0)
    rows = np.flatnonzero(kept)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST_POINTS, len(rows))).round().astype(int))]
    return (np.log10(across[rows]), np.log10(up[rows])) if log else (across[rows], up[rows])


def _place(values: np.ndarray, span: tuple[float, float], ends: tuple[float, float]) -> np.ndarray:
    return ends[0] + (values - span[0]) / (span[1] - span[0]) * (ends[1] - ends[0])
