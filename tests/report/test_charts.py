"""Charts: points lie where their values say, texts are escaped, nothing is drawn of nothing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from reidlib.report.charts import MOST_POINTS, Chart, ticks_of


def drawn(chart):
    return ElementTree.fromstring(str(chart.svg()))


def points(chart):
    lines = drawn(chart).findall(".//polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in lines]


@pytest.mark.parametrize("log", [False, True])
def test_points_are_where_ticks_say(log):
    x, y = ([1, 10, 100], [0.001, 0.01, 0.1]) if log else ([0, 5, 10], [2, 4, 3])
    chart = Chart("a chart", "epoch", {"one": (x, y)}, log=log)
    [line] = points(chart)
    texts = [(text.text, float(text.get("x")), float(text.get("y")), text.get("text-anchor"))
             for text in drawn(chart).findall(".//text") if re.fullmatch(r"[-0-9.e]+", text.text)]  # fmt: skip
    across = {float(text): place for text, place, _, anchor in texts if anchor == "middle"}
    up = {float(text): place - 4 for text, _, place, anchor in texts if anchor == "end"}
    for (a, b), (found_x, found_y) in zip(zip(x, y, strict=True), line, strict=True):
        assert a not in across or found_x == pytest.approx(across[a], abs=0.2)
        assert b not in up or found_y == pytest.approx(up[b], abs=0.2)
    assert set(x) & set(across) and set(y) & set(up)


def test_names_are_escaped_and_told():
    figure = str(Chart("<b>", "x & y", {"<i>": ([0, 1], [1, 2]), "other": ([0, 1], [2, 3])}).svg())
    assert "<b>" not in figure and "<i>" not in figure and "&lt;i&gt; 2, other 3" in figure


def test_what_cannot_be_drawn_is_left_out():
    assert Chart("t", "x", {"one": ([], []), "two": ([1.0], [np.nan])}).svg() == ""
    [line] = points(Chart("t", "x", {"one": ([0, 1, 2], [np.nan, 3, 3])}))
    assert len(line) == 2
    assert points(Chart("t", "x", {"one": ([0, 1, 10], [0, 1, 1])}, log=True)) == [[(48, 108), (408, 108)]]
    [line] = points(Chart("t", "x", {"one": (range(5000), range(5000))}))
    assert len(line) == MOST_POINTS


@pytest.mark.parametrize(("least", "most"), [(0, 1), (-3, 17), (0, 1e-5), (1234, 1240), (0.5, 1.5e6)])
def test_ticks_are_few_and_within(least, most):
    ticks = [value for value, _ in ticks_of(least, most)]
    assert 3 <= len(ticks) <= 7 and least - 1e-9 <= ticks[0] and ticks[-1] <= most * (1 + 1e-9) + 1e-9
