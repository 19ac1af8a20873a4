"""What all figures share: colours, transparent axes, a legend, dots and crosses, written numbers.

The colours are those of the Okabe-Ito palette that read on white and on near black; text and axes
are black, which the page replaces by its own colour of text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#888888"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
MARKERS = ("o", "s", "^", "D")
WIDTH = 4.9  # inches: a line chart whose letters of 10 points still have 10 pixels at 390
NARROW = 4.6  # inches: the same for a figure between the margins of a slider's frame

# The two ends of each stroke. A stroke of length 0 with round ends is a dot.
DOT = np.zeros((2, 2))
CROSS = np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)])


def new_axes(
    rows: int = 1,
    columns: int = 1,
    *,
    size: tuple[float, float],
    sharex: bool = False,
    widths: Sequence[float] | None = None,
) -> tuple[Figure, NDArray[Any]]:
    """Make a transparent figure and its axes, in one flat array, with no frame above or right."""
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=sharex, squeeze=False, width_ratios=widths)
    axes = grid.ravel()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color=GREY, alpha=0.3)
        panel.set_axisbelow(True)
    return figure, axes


def add_legend(figure: Figure) -> None:
    """Put the legend above the axes, where it hides nothing."""
    figure.legend(loc="outside upper center", ncols=2, frameon=False)


def draw_strokes(
    axes: Axes, places: NDArray[Any], glyph: NDArray[Any], *, label: str, **style: Any
) -> None:
    """Draw DOT or CROSS at each place (N, 2) as one path, a quarter of the bytes of markers."""
    vertices = (places[:, None] + glyph).reshape(-1, 2)
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * (len(vertices) // 2))
    path.should_simplify = False
    axes.add_patch(PathPatch(path, fill=False, capstyle="round", **style))
    marker = "o" if glyph is DOT else "x"
    axes.plot([], [], marker, markersize=5, color=style["color"], label=label)


def with_spread(value: float, spread: float | None, unit: str = "%") -> str:
    """Write a value with its spread over seeds, if there is one, such as 3.00 ± 0.50%."""
    return f"{value:.2f}" + ("" if spread is None else f" ± {spread:.2f}") + unit


def verbatim(text: str) -> str:
    """Return a text that matplotlib writes as it is, without formulas between dollar signs."""
    return text.replace("$", r"\$")


def counted(number: int, noun: str) -> str:
    """Write a number with its noun, such as 1 draw or 3 draws."""
    return f"{number} {noun}{'s' * (number != 1)}"
