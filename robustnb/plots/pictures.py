"""Images of the data sets, perturbations and saliency maps, in rows with captions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from robustnb.drawing import Drawing
from robustnb.plots.canvas import new_axes


def images(
    pictures: Sequence[Sequence[ArrayLike]],
    captions: Sequence[Sequence[str]],
    cmap: str = "gray",
    limit: float | None = 1.0,
) -> Drawing:
    """Draw rows of small images, crisp, with a caption under each.

    An image is (H, W), (1, H, W) or (3, H, W). One with negative pixels is drawn in blue where it
    is positive and in red where it is negative, on one scale for its row. Others go from 0 to
    `limit`, or with None to each image's own maximum, as suits saliency maps.
    """
    if [len(row) for row in pictures] != [len(row) for row in captions]:
        raise ValueError("Every picture needs a caption: the two grids differ in shape.")
    columns = max(len(row) for row in pictures)
    figure, axes = new_axes(len(pictures), columns, size=(1.1 * columns, 1.4 * len(pictures)))
    for panel in axes.flat:
        panel.set_axis_off()
    for panels, row, words in zip(axes.reshape(-1, columns), pictures, captions, strict=True):
        arrays = [as_picture(picture) for picture in row]
        signed = max((np.abs(a).max() for a in arrays if a.min() < 0), default=0.0)
        for panel, array, caption in zip(panels, arrays, words, strict=False):
            draw_image(panel, array, cmap, limit, signed)
            panel.text(0.5, -0.04, caption, ha="center", va="top", transform=panel.transAxes)
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


def draw_image(
    axes: Axes, array: NDArray[np.float64], cmap: str, limit: float | None, signed: float
) -> None:
    """Draw an image up to `limit`, or one with negative pixels from -`signed` to `signed`."""
    if array.min() < 0:
        grey = array if array.ndim == 2 else array.mean(-1)
        axes.imshow(grey, cmap="RdBu", vmin=-signed, vmax=signed, interpolation="none")
    else:
        top = array.max() if limit is None else limit
        axes.imshow(array, cmap=cmap, vmin=0, vmax=top, interpolation="none")
