"""Two values side by side for each of many rows, joined by a line: what is left of the first."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from robustnb.drawing import Drawing
from robustnb.plots.canvas import BLUE, GREY, VERMILION, WIDTH, add_legend, new_axes, verbatim

# The first value, or None, and the second one with its interval (value, low, high).
Ends = tuple[float | None, tuple[float, float, float]]


def dumbbells(title: str, rows: Mapping[str, Ends], ends: tuple[str, str]) -> Drawing:
    """Draw a first value and a second one with its interval for each row, all in percent.

    `ends` names the two. A row without a first value shows the second alone.
    """
    figure, (axes,) = new_axes(size=(WIDTH, 1.2 + 0.36 * len(rows)))
    places, told = range(len(rows)), []
    for place, (name, (first, (second, low, high))) in zip(places, rows.items(), strict=True):
        if first is not None:
            axes.plot((first, second), (place, place), color=GREY, linewidth=2, zorder=1)
        axes.plot((low, high), (place, place), color=VERMILION, linewidth=5, alpha=0.4, zorder=2)
        then = f"{second:.0f}% ({low:.0f} to {high:.0f})"
        told.append(f"{name} {then}" if first is None else f"{name} {first:.0f}%, then {then}")
    firsts = [(x, place) for place, (x, _) in zip(places, rows.values(), strict=True)]
    seconds = [(x[0], place) for place, (_, x) in zip(places, rows.values(), strict=True)]
    _dots(axes, [(x, place) for x, place in firsts if x is not None], BLUE, "o", ends[0])
    _dots(axes, seconds, VERMILION, "s", ends[1])
    axes.set_yticks(places, [verbatim(name) for name in rows])
    axes.set(xlim=(-2, 102), xticks=range(0, 101, 25), xlabel="right answers (%)")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GREY, alpha=0.3)
    add_legend(figure)
    return Drawing(figure, f"{title}: {'; '.join(told)}.")


def _dots(
    axes: Axes, points: Sequence[tuple[float, int]], colour: str, marker: str, label: str
) -> None:
    if points:
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker, color=colour, label=label, zorder=3)
