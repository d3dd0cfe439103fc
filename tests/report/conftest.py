"""The figures that would have been saved, and what sticks out of them, for the tests of this folder."""

import pytest

from reidlib.report import curves, ranked_lists


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been saved."""
    kept = []
    for module in (curves, ranked_lists):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    return kept


@pytest.fixture
def parts_outside():
    """What reaches out of a figure: axes with their labels and ticks, titles."""

    def found(figure):
        figure.canvas.draw()
        frame = figure.bbox.padded(1)
        boxes = [(part, part.get_tightbbox()) for part in (*figure.axes, *figure.texts)]
        return [part for part, box in boxes if not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))]

    return found
