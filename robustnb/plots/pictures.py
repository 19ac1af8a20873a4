"""Images of the data sets, perturbations and heat maps, in rows with captions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from robustnb.drawing import Drawing
from robustnb.plots.canvas import GREY, WIDTH, new_axes
from robustnb.plots.maps import HEAT, SIGNED

SIDE = 1.1  # inches of an image, where there is room
CAPTION = 0.3
BAR = 0.5


def images(
    pictures: Sequence[Sequence[ArrayLike]],
    captions: Sequence[Sequence[str]],
    *,
    maps: int = 0,
    limit: float | None = None,
    scale: str = "",
) -> Drawing:
    """Draw rows of small images, crisp, with a caption under each.

    An image is (H, W), (1, H, W) or (3, H, W), with pixels from 0 to 1. One with negative pixels is
    a perturbation, blue where it is positive and orange where it is negative, all on one scale. The
    last `maps` rows are heat maps (H, W) on one scale from 0 to `limit`, or each up to its own
    largest value if that is None. A bar says what the colours mean; `scale` names a map's values.
    """
    if [len(row) for row in pictures] != [len(row) for row in captions]:
        raise ValueError("Every picture needs a caption: the two grids differ in shape.")
    arrays = [[as_picture(picture) for picture in row] for row in pictures]
    first_map, columns = len(arrays) - maps, max(map(len, arrays))
    perturbations = [a for row in arrays[:first_map] for a in row if a.min() < 0]
    signed = max((np.abs(array).max() for array in perturbations), default=0.0)
    width = min(SIDE * columns, WIDTH)
    height = (width / columns + CAPTION) * len(arrays) + BAR * (bool(signed) + bool(maps))
    figure, axes = new_axes(len(arrays), columns, size=(width, height))
    for panel in axes:
        panel.set_axis_off()
    for number, panels in enumerate(axes.reshape(-1, columns)):
        for panel, array, caption in zip(panels, arrays[number], captions[number], strict=False):
            if number >= first_map:
                _draw_map(panel, array, HEAT, 0, np.nanmax(array) if limit is None else limit)
            elif array.min() < 0:
                grey = array if array.ndim == 2 else array.mean(-1)
                _draw_map(panel, grey, SIGNED, -signed, signed)
            else:
                draw_image(panel, array)
            panel.text(0.5, -0.04, caption, ha="center", va="top", transform=panel.transAxes)
    if signed:
        ends = {-signed: f"−{signed:.2g}", 0: "0", signed: f"{signed:.2g}"}
        _add_bar(figure, axes, SIGNED, ends, "change of a pixel")
    if maps:
        top = {1.0: "most of each map"} if limit is None else {limit: f"{limit:.2g}"}
        _add_bar(figure, axes, HEAT, {0: "0"} | top, scale)
    told = "; ".join(", ".join(caption.replace("\n", " ") for caption in row) for row in captions)
    return Drawing(figure, f"{sum(map(len, pictures))} images: {told}.")


def as_picture(picture: ArrayLike) -> NDArray[np.float64]:
    """Return an image (H, W), (1, H, W) or (3, H, W) as matplotlib takes it."""
    array = np.asarray(picture, dtype=float)
    if array.ndim == 3 and len(array) in (1, 3):
        array = array[0] if len(array) == 1 else array.transpose(1, 2, 0)
    elif array.ndim != 2:
        raise ValueError(f"An image is (H, W), (1, H, W) or (3, H, W), not {array.shape}.")
    return array


def draw_image(axes: Axes, array: NDArray[np.float64]) -> None:
    """Draw an image with pixels from 0 to 1."""
    axes.imshow(array, cmap="gray", vmin=0, vmax=1, interpolation="none")


def _draw_map(
    axes: Axes, array: NDArray[np.float64], colours: Colormap, low: float, high: float
) -> None:
    axes.imshow(array, colours, vmin=low, vmax=high or 1, interpolation="none")
    height, width = array.shape
    frame = Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY, linewidth=0.5)
    axes.add_patch(frame).set_clip_on(False)


def _add_bar(
    figure: Figure, axes: NDArray[Any], colours: Colormap, ends: Mapping[float, str], label: str
) -> None:
    """Put a bar below the axes, with a text at each of some values."""
    values = ScalarMappable(Normalize(min(ends), max(ends)), colours)
    bar = figure.colorbar(values, ax=list(axes), location="bottom", shrink=0.6, aspect=30)
    bar.set_ticks(list(ends), labels=list(ends.values()))
    bar.set_label(label)
    assert bar.solids is not None
    bar.solids.set_rasterized(True)  # a few bytes in place of a path for each colour
    bar.outline.set(edgecolor=GREY, linewidth=0.5)
