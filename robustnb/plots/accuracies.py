"""Accuracies with their intervals, a bar for each attack."""

from collections.abc import Mapping

import numpy as np

from robustnb.drawing import Drawing
from robustnb.plots.canvas import BLUE, GREY, VERMILION, WIDTH, new_axes, verbatim


def accuracies(title: str, shares: Mapping[str, tuple[float, float, float]]) -> Drawing:
    """Draw a bar for each share and its interval (share, low, high), all from 0 to 1, in percent.

    The first bar, without an attack, is grey; the last, the worst case, stands out.
    """
    names, numbers = list(shares), 100 * np.array(list(shares.values()))
    colours = [GREY, *[BLUE] * (len(names) - 2), VERMILION][: len(names)]
    figure, (axes,) = new_axes(size=(WIDTH, 0.7 + 0.32 * len(names)))
    places = np.arange(len(names))
    axes.barh(places, numbers[:, 0], 0.7, color=colours)
    ends = np.abs(numbers[:, 1:] - numbers[:, :1]).T
    axes.errorbar(numbers[:, 0], places, xerr=ends, fmt="none", ecolor="black", capsize=3)
    for place, (value, _, high) in zip(places, numbers, strict=True):
        axes.text(high + 1.5, place, f"{value:.1f}", va="center")
    axes.set_yticks(places, [verbatim(name) for name in names])
    axes.set(xlim=(0, 112), xticks=range(0, 101, 25), xlabel="accuracy (%)")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GREY, alpha=0.3)
    told = [
        f"{name} {value:.1f}% ({low:.1f} to {high:.1f})"
        for name, (value, low, high) in zip(names, numbers, strict=True)
    ]
    return Drawing(figure, f"{title}: {', '.join(told)}.")
