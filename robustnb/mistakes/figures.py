"""What the chapter shows of an exhibit: its code, and what both versions see."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from robustnb.drawing import Drawing
from robustnb.mistakes.exhibits import Exhibit, Seen
from robustnb.plots.canvas import BLUE, GREY, NARROW, VERMILION, WIDTH, new_axes
from robustnb.plots.pictures import as_picture, draw_image

SHOWN = 5  # digits beside each other


def code(exhibit: Callable[..., Exhibit]) -> str:
    """Return the source of an exhibit as a block of Markdown."""
    return f"```python\n{inspect.getsource(exhibit)}```"


def telling(exhibit: Exhibit) -> Tensor:
    """Return the indices of the SHOWN images for which the two versions differ most."""
    lie = exhibit.wrong.right - exhibit.right.right
    return lie.abs().argsort(descending=True, stable=True)[:SHOWN]


def version(exhibit: Exhibit, which: str, clean: float, how: str, labels: Tensor) -> Drawing:
    """Draw what the "wrong" or the "right" version sees: some digits, and the accuracies.

    `clean` is the accuracy without an attack, `how` says in a sentence what is done, and `labels`
    (N,) are the digits.
    """
    seen: Seen = getattr(exhibit, which)
    figure = Figure(figsize=(NARROW, 2.4), layout="constrained")
    grid = figure.add_gridspec(2, SHOWN, height_ratios=(1.25, 1))
    chosen = telling(exhibit)
    for place, index in enumerate(chosen.tolist()):
        panel = figure.add_subplot(grid[0, place])
        panel.set_axis_off()
        draw_image(panel, as_picture(seen.images[index].clamp(0, 1)))
        panel.set_title(f"read as {seen.answers[index]}", fontsize="medium")
    colour = VERMILION if which == "wrong" else BLUE
    _bars(figure.add_subplot(grid[1, :]), seen.accuracy, clean, colour)
    read = ", ".join(str(int(seen.answers[index])) for index in chosen)
    true = ", ".join(str(int(labels[index])) for index in chosen)
    alt = (
        f"{which.capitalize()}: {how} Right answers under attack: {seen.accuracy:.0%}. The digits "
        f"{true} are read as {read}."
    )
    return Drawing(figure, alt)


def _bars(axes: Axes, attacked: float, clean: float, colour: str) -> None:
    values = 100 * np.array([clean, attacked])
    axes.barh((0, 1), values, 0.7, color=(GREY, colour))
    for place, value in enumerate(values):
        axes.text(value + 1.5, place, f"{value:.0f}%", va="center")
    axes.set_yticks((0, 1), ["no attack", "attack"])
    axes.set(xlim=(0, 112), xticks=range(0, 101, 25), xlabel="right answers (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()


def lies(title: str, numbers: Mapping[str, tuple[float, float]]) -> Drawing:
    """Draw for each mistake a line from the right number to the wrong one, both from 0 to 1."""
    figure, (axes,) = new_axes(size=(WIDTH, 0.9 + 0.32 * len(numbers)))
    places = np.arange(len(numbers))
    wrong, right = 100 * np.array(list(numbers.values())).T
    axes.hlines(places, right, wrong, color=GREY, linewidth=2)
    style: dict[str, Any] = {"linestyle": "", "markersize": 7}
    axes.plot(wrong, places, "s", color=VERMILION, label="wrong", **style)
    axes.plot(right, places, "o", color=BLUE, label="right", **style)
    axes.set_yticks(places, list(numbers))
    axes.set(xlim=(0, 100), xlabel="right answers under attack (%)")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GREY, alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    told = [
        f"{name} {a:.0f}% instead of {b:.0f}%"
        for name, a, b in zip(numbers, wrong, right, strict=True)
    ]
    return Drawing(figure, f"{title}: {', '.join(told)}.")
