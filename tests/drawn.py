"""What a figure shows: its axes, the points of a curve, their spreads, the ticks."""

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from robustnb.drawing import Drawing


def axes_of(drawing: Drawing) -> list[Axes]:
    return list(drawing.figure.axes)


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    """Return the points of the curve with that label in the legend."""
    (bars,) = [c for c in axes.containers if c.get_label() == label]
    assert isinstance(bars, ErrorbarContainer)
    return [(float(x), float(y)) for x, y in bars.lines[0].get_xydata()]


def spreads(axes: Axes, label: str) -> list[float]:
    (bars,) = [c for c in axes.containers if c.get_label() == label]
    segments = bars.lines[2][0].get_segments()
    return [float(segment[1][1] - segment[0][1]) / 2 for segment in segments]


def ticks(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels()]
