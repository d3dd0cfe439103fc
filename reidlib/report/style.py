"""The look shared by every picture: colours that colour-blind readers tell apart, light grids, atomic PNG files."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reidlib.files import atomic_file

# Okabe and Ito's palette; markers repeat the distinction for those who see no colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
RIGHT, WRONG, NEUTRAL = "#009E73", "#CC3311", "#595959"
TEXT = "#262626"
DOTS_PER_INCH = 130
PAD = 0.06  # inches around every panel


def new_figure(width: float, height: float, *, title: str) -> Figure:
    """A white figure of the given size in inches, laid out so that no label is clipped, with its title at the top."""
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=PAD, h_pad=PAD)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, fontweight="bold", color=TEXT)
    return figure


def style_axes(axes: Axes, *, title: str = "") -> None:
    """Light grid, no box, small text."""
    axes.set_title(title, fontsize=10, loc="left", color=TEXT)
    axes.grid(color="#E0E0E0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#808080")
    axes.tick_params(labelsize=8.5, color="#808080", labelcolor=TEXT)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def show_image(
    axes: Axes, image: UInt8[np.ndarray, "h w 3"], *, frame: str | None = None, dashed: bool = False
) -> None:
    """An image without ticks; `frame` is the colour of a thick border around it."""
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set(color=frame or "white", linewidth=3.5, linestyle=(0, (2, 1)) if dashed else "solid", capstyle="butt")


def show_text(axes: Axes, text: str) -> None:
    """A few lines of text, from the left, in the middle of the height."""
    axes.axis("off")
    axes.text(0, 0.5, text, va="center", fontsize=9, color=TEXT, linespacing=1.5, transform=axes.transAxes)


def save(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG that depends on nothing but its content."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
