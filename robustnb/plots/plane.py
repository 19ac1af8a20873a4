"""Where networks draw the boundary between two classes of points in the plane."""

from collections.abc import Mapping
from math import ceil
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import ArrayLike, NDArray

from robustnb.drawing import Drawing
from robustnb.plots.canvas import (
    BLUE,
    CROSS,
    DOT,
    GREY,
    VERMILION,
    WIDTH,
    counted,
    draw_strokes,
    new_axes,
)


def boundaries(
    points: ArrayLike, labels: ArrayLike, side: ArrayLike, surfaces: Mapping[str, ArrayLike]
) -> Drawing:
    """Draw each network's boundary between two classes of points (N, 2), a panel for each network.

    `surfaces` holds for each network its logits (S, M * M, 2): those of S draws on the grid
    `torch.cartesian_prod(side, side)`, with `side` of shape (M,). Each draw has its own line; a
    place is the darker, the more the draws disagree about it.
    """
    places, kinds, ticks = np.asarray(points), np.asarray(labels), np.asarray(side)
    if len(set(kinds.tolist())) != 2:
        raise ValueError(f"labels must be of two classes, not {len(set(kinds.tolist()))}.")
    figure, axes = new_axes(1, len(surfaces), size=(WIDTH, WIDTH / len(surfaces) + 0.8))
    told = []
    for panel, (name, logits) in zip(axes, surfaces.items(), strict=True):
        margins = _margins(logits, ticks, name)
        _surface(panel, ticks, margins)
        _two_classes(panel, places, kinds)
        panel.set_title(fill(name, 72 // len(surfaces)), size="medium")
        disputed = ((margins > 0) != (margins[0] > 0)).any(0).mean()
        told.append(
            f"{name}: {counted(len(margins), 'draw')}, differing on {disputed:.0%} of the plane"
        )
    handles, words = axes[-1].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=3, frameon=False)
    start = f"Boundaries between two classes of {len(places)} points in the plane"
    return Drawing(figure, f"{start}. {'; '.join(told)}.")


def _margins(logits: ArrayLike, side: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return the logit of the second class less that of the first, as (S, M, M) with y before x."""
    found, length = np.asarray(logits, dtype=float), len(side)
    if found.ndim != 3 or found.shape[1:] != (length**2, 2):
        raise ValueError(
            f"The logits of {name!r} have shape {found.shape}: with {length} places a side it "
            f"must be (draws, {length**2}, 2)."
        )
    return (found[..., 1] - found[..., 0]).reshape(-1, length, length).swapaxes(1, 2)


def _surface(axes: Axes, side: NDArray[Any], margins: NDArray[np.float64]) -> None:
    """Draw the boundary of each draw, and a shade where the draws differ."""
    share = (margins > 0).mean(0)
    shade = np.zeros((*share.shape, 4)) + to_rgba(GREY)
    shade[..., 3] = 1.4 * np.minimum(share, 1 - share)
    extent = (side[0], side[-1], side[0], side[-1])
    axes.imshow(shade, extent=extent, origin="lower")
    # 45 places a side make a smooth line of few bytes.
    some = np.linspace(0, len(side) - 1, min(len(side), 45)).astype(int)
    alone = len(margins) == 1
    style: dict[str, Any] = {"alpha": 1.0 if alone else 0.5, "linewidth": 1.5 if alone else 1.0}
    for margin in margins:
        if margin.min() < 0 < margin.max():
            coarse = margin[np.ix_(some, some)]
            lines = axes.contour(side[some], side[some], coarse, levels=[0], colors="black")
            lines.set(**style)
    axes.plot([], [], color="black", label="boundary of a draw", **style)
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    axes.spines[["top", "right"]].set_visible(True)


def _two_classes(axes: Axes, places: NDArray[Any], kinds: NDArray[Any]) -> None:
    """Draw the points of one class as dots and of the other as crosses, about 200 in all."""
    some = slice(None, None, ceil(len(places) / 200))
    first, second = np.unique(kinds)
    style: dict[str, Any] = {"color": BLUE, "linewidth": 4, "label": f"class {first}"}
    draw_strokes(axes, places[kinds == first][some], DOT, **style)
    radius = 0.012 * np.ptp(axes.get_xlim())
    style = {"color": VERMILION, "linewidth": 1.2, "label": f"class {second}"}
    draw_strokes(axes, places[kinds == second][some], radius * CROSS, **style)
