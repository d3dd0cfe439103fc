"""Curves: what is drawn, that no text leaves the picture, and that bad tables are refused."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reidlib.report import curves
from reidlib.report.curves import draw_cmc, draw_curves, draw_det


def training(epochs=5):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 5.0 / epoch,
            "clusters": 10 * epoch,
            "outliers": 0.5 / epoch,
            "silhouette": 0.01 * epoch,
            "images_per_second": 900.0 + epoch,
            "seconds": 3.0 + epoch,
            "learning_rate": 3.5e-4,
        }
    )


def quality(epochs=5):
    epoch = np.arange(1, epochs + 1)
    grouped = [name for group in curves.GROUPS.values() for name in group]
    columns = {name: 1 - 0.5 / epoch for name in (*grouped, "outlier_share")}
    return pd.DataFrame({"epoch": epoch, **columns, "clusters": 10 * epoch, "expansion": 1 + 1 / epoch})


@pytest.mark.parametrize("table", [training(), training(1), training(60), quality(), quality(1)])
def test_every_column_has_its_panel_and_no_text_is_clipped(figures, parts_outside, tmp_path, table):
    draw_curves(table, tmp_path / "curves.png", title="Training: a title")
    (figure,) = figures
    assert len(figure.axes) == (6 if "nmi" in table.columns else 7)
    assert figure.get_suptitle() == "Training: a title"
    assert parts_outside(figure) == []
    lines = [line for axes in figure.axes for line in axes.lines]
    assert len(lines) == len(table.columns) - 1
    assert all(len(line.get_xdata()) == len(table) for line in lines)


def test_shares_are_drawn_in_percent(figures, tmp_path):
    draw_curves(training(), tmp_path / "curves.png", title="t")
    (axes,) = [axes for axes in figures[0].axes if "outliers" in axes.get_title("left")]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx((100 * training()["outliers"]).tolist())


def test_cameras_are_thin_lines_and_the_whole_a_thick_one(figures, tmp_path):
    table = pd.concat([quality().assign(camera=camera) for camera in (-1, 0, 1, 2)])
    draw_curves(table, tmp_path / "quality.png", title="t")
    widths = [line.get_linewidth() for line in figures[0].axes[0].lines]
    assert len(widths) == 12
    assert sorted(widths)[8] < sorted(widths)[9]


def test_unknown_and_empty_columns_are_shown_not_dropped(figures, tmp_path):
    table = training().assign(gradient_norm=np.arange(5.0), silhouette=np.nan)
    draw_curves(table, tmp_path / "curves.png", title="t")
    titles = [axes.get_title("left") for axes in figures[0].axes]
    assert "gradient norm" in titles
    assert "Silhouette of the clusters (-1 to 1): no value" in titles


def test_files_are_pngs_and_equal_when_drawn_again(tmp_path):
    for name in ("one.png", "two.png"):
        draw_curves(quality(), tmp_path / "new" / name, title="t")
    with Image.open(tmp_path / "new" / "one.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 400
    assert (tmp_path / "new" / "one.png").read_bytes() == (tmp_path / "new" / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"loss": [1.0]}), "a column 'epoch', found 1 rows of loss"),
        (pd.DataFrame({"epoch": [], "loss": []}), "with rows"),
        (pd.DataFrame({"epoch": [1, 2]}), "columns to draw beside 'epoch'"),
    ],
)
def test_tables_without_curves_are_refused(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        draw_curves(table, tmp_path / "curves.png", title="t")
    assert list(tmp_path.iterdir()) == []


def test_cmc_in_percent_up_to_the_rank_asked_for(figures, parts_outside, tmp_path):
    shares = np.linspace(0.25, 1, 50)
    draw_cmc({"initial": shares, "final": np.sqrt(shares)}, tmp_path / "cmc.png", title="CMC", max_rank=20)
    (axes,) = figures[0].axes
    assert [line.get_label() for line in axes.lines] == ["initial: 25.0 % at rank 1", "final: 50.0 % at rank 1"]
    assert axes.lines[0].get_xdata().tolist() == list(range(1, 21))
    assert axes.lines[0].get_ydata()[0] == 25
    assert parts_outside(figures[0]) == []


def test_cmc_of_a_gallery_of_one(figures, tmp_path):
    draw_cmc({"final": np.ones(1)}, tmp_path / "cmc.png", title="CMC", max_rank=1)
    assert figures[0].axes[0].lines[0].get_ydata().tolist() == [100]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "expected 1 to 7 CMC curves, found 0"),
        ({str(number): np.ones(3) for number in range(8)}, "found 8"),
        ({"final": np.array([])}, "shares between 0 and 1 for 'final'"),
        ({"final": np.array([50.0, 60.0])}, "shares between 0 and 1"),
        ({"final": np.array([np.nan])}, "shares between 0 and 1"),
    ],
)
def test_cmc_of_something_else_is_refused(tmp_path, shares, message):
    with pytest.raises(ValueError, match=message):
        draw_cmc(shares, tmp_path / "cmc.png", title="CMC")


@pytest.mark.parametrize("rate", [0.0, 0.2])  # of a network that makes no mistakes, too
def test_both_errors_are_drawn(tmp_path, rate):
    table = pd.DataFrame(
        {"threshold": [0.9, 0.1], "false_match_rate": [0.0, rate], "false_non_match_rate": [rate, 0.0]}
    )
    draw_det(table, tmp_path / "det.png", title="Errors")
    assert (tmp_path / "det.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
