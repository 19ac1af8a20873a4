"""The class probabilities that networks, or the draws of one network, give to an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from robustnb.drawing import Drawing
from robustnb.plots.canvas import (
    BLUE,
    COLOURS,
    DOT,
    GREY,
    NARROW,
    WIDTH,
    add_legend,
    counted,
    draw_strokes,
    new_axes,
    verbatim,
)
from robustnb.plots.pictures import as_picture, draw_image


def probabilities(
    networks: Mapping[str, ArrayLike], classes: Sequence[str], true_class: str
) -> Drawing:
    """Draw the class probabilities that each network gives to one image, the true class marked."""
    figure, (axes,) = new_axes(size=(WIDTH, 3.6))
    told = _bars(axes, networks, classes, true_class)
    add_legend(figure)
    return Drawing(figure, told)


def answers(
    picture: ArrayLike,
    networks: Mapping[str, ArrayLike],
    classes: Sequence[str],
    true_class: str,
) -> Drawing:
    """Draw an image, as `images` takes it, beside the class probabilities of each network."""
    figure, (left, right) = new_axes(1, 2, size=(NARROW, 2.9), widths=(1, 2.4))
    left.set_axis_off()
    draw_image(left, as_picture(picture))
    told = _bars(right, networks, classes, true_class)
    add_legend(figure)
    return Drawing(figure, told)


def draws(answers: ArrayLike, classes: Sequence[str], true_class: str) -> Drawing:
    """Draw the class probabilities (S, classes) of S draws of a network for one image.

    Bars are the mean over the draws. Dots are the first 100 single draws, spread over the width of
    the bars so that they do not hide each other.
    """
    single = np.asarray(answers, dtype=float)
    if single.ndim != 2 or single.shape[1] != len(classes) or not len(single):
        raise ValueError(
            f"answers has shape {single.shape}: "
            f"it must be (draws, {len(classes)} classes) with at least one draw."
        )
    mean, number = single.mean(0), counted(len(single), "draw")
    figure, (axes,) = new_axes(size=(NARROW, 3.1))
    _class_axes(axes, classes, true_class)
    axes.bar(range(len(classes)), mean, 0.8, color=BLUE, alpha=0.5, label=f"mean of {number}")
    style: dict[str, Any] = {"color": "black", "alpha": 0.6, "linewidth": 2.5}
    draw_strokes(axes, _spread_out(single[:100]), DOT, label="a single draw", **style)
    add_legend(figure)
    top, votes = int(mean.argmax()), _votes([classes[top] for top in single.argmax(1)])
    alt = f"The mean of {number} says {classes[top]} ({mean[top]:.2f}); single draws: {votes}."
    return Drawing(figure, f"The true class is {true_class}. {alt}")


def _bars(
    axes: Axes, networks: Mapping[str, ArrayLike], classes: Sequence[str], true_class: str
) -> str:
    """Draw a bar for each network and class; return the alt text."""
    _class_axes(axes, classes, true_class)
    truth, width = classes.index(true_class), 0.8 / len(networks)
    told = []
    for index, (name, values) in enumerate(networks.items()):
        heights = np.asarray(values, dtype=float)
        positions = np.arange(len(classes)) + width * (index - (len(networks) - 1) / 2)
        axes.bar(positions, heights, width, label=verbatim(name), color=COLOURS[index % 4])
        top = int(heights.argmax())
        rest = "" if top == truth else f", {true_class} ({heights[truth]:.2f})"
        told.append(f"{name} says {classes[top]} ({heights[top]:.2f}){rest}")
    return f"The true class is {true_class}. {'; '.join(told)}."


def _class_axes(axes: Axes, classes: Sequence[str], true_class: str) -> None:
    """Set up axes with a place for each class, and mark the true one."""
    if true_class not in classes:
        raise ValueError(f"{true_class!r} is no class: the classes are {', '.join(classes)}.")
    long = max(map(len, classes)) > 3
    names = [verbatim(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=90 if long else 0)
    axes.set(xlabel="class", ylabel="probability", xlim=(-0.5, len(classes) - 0.5), ylim=(0, 1))
    place = classes.index(true_class)
    axes.axvspan(place - 0.5, place + 0.5, color=GREY, alpha=0.25)
    axes.text(place, 1.01, "true class", ha="center")


def _spread_out(single: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where to draw a dot for each of (S, classes), leaving out dots on the same place."""
    golden = 0.618034
    offsets = ((0.5 + golden * np.arange(len(single))) % 1).round(1) - 0.5
    across = np.arange(single.shape[1]) + 0.7 * offsets[:, None]
    dots = np.stack([across, single], axis=-1).reshape(-1, 2)
    return np.unique(dots.round(2), axis=0)


def _votes(names: Sequence[str]) -> str:
    """Write how many draws say each of the three most frequent names, and how many another."""
    counts = Counter(names).most_common(3)
    if others := len(names) - sum(count for _, count in counts):
        counts.append(("another", others))
    return ", ".join(f"{count} say{'s' * (count == 1)} {name}" for name, count in counts)
