"""The lengths of gradients, which BANG balances."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from robustnb.drawing import Drawing
from robustnb.plots.canvas import COLOURS, MARKERS, NARROW, add_legend, new_axes


def ranked(
    title: str, lengths: Mapping[str, ArrayLike], ylabel: str, limits: tuple[float, float]
) -> Drawing:
    """Draw lengths from the greatest to the least on a logarithmic axis, a dot for each.

    Lengths below the lower of `limits`, such as 0, are not drawn; the alt text counts them.
    """
    figure, (axes,) = new_axes(size=(NARROW, 3.1))
    told = []
    for index, (name, values) in enumerate(lengths.items()):
        order = np.sort(np.asarray(values, dtype=float))[::-1]
        seen = order[order >= limits[0]]
        style: dict[str, Any] = {"color": COLOURS[index % 4], "marker": MARKERS[index % 4]}
        axes.plot(range(1, len(seen) + 1), seen, linestyle="", markersize=4, label=name, **style)
        unseen = f", {len(order) - len(seen)} below the axis" if len(seen) < len(order) else ""
        told.append(f"{name} from {order[0]:.2g} to {order[-1]:.2g}{unseen}")
    axes.set(yscale="log", ylim=limits, xlabel="examples, the longest first", ylabel=ylabel)
    add_legend(figure)
    return Drawing(figure, f"{title}: {'; '.join(told)}.")
