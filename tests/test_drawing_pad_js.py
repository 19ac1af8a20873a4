"""A reader's own digit: as MNIST's are, against plain averages and MNIST itself; and as a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pages import add_functions
from playwright.sync_api import Page
from torch import Tensor

from robustnb.data import load
from robustnb.widgets.pictures import read_picture, written_picture
from robustnb.widgets.static import HERE

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

# A text of many numbers crosses into the page at once, a list of them number by number.
LIKE_MNIST = """([ink, width, height]) => {
  const pixels = likeMnist(Float32Array.from(JSON.parse(ink)), width, height);
  return pixels && Array.from(pixels);
}"""


@pytest.fixture(scope="module")
def page(visit: Visit) -> Iterator[Page]:
    with visit("about:blank") as blank:
        add_functions(blank, HERE / "drawing_pad.js")
        yield blank


def like_mnist(page: Page, ink: NDArray[np.float64]) -> NDArray[np.float64] | None:
    height, width = ink.shape
    pixels = page.evaluate(LIKE_MNIST, [json.dumps(ink.ravel().tolist()), width, height])
    return None if pixels is None else np.reshape(pixels, (28, 28))


def means(ink: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the means of rows * columns equal parts, after repeating until all parts are whole."""
    height, width = ink.shape
    fine = np.kron(ink, np.ones((rows, columns)))
    return fine.reshape(rows, height, columns, width).mean((1, 3))


@pytest.mark.parametrize("shape", [(63, 37), (20, 20), (9, 50), (140, 1)])
def test_what_is_written_fills_twenty_pixels_around_its_centre_of_mass(
    page: Page, shape: tuple[int, int]
) -> None:
    written = np.random.default_rng(0).uniform(0.2, 1, shape)
    ink = np.zeros((160, 90))
    ink[11 : 11 + shape[0], 30 : 30 + shape[1]] = written
    pixels = like_mnist(page, ink)
    assert pixels is not None
    rows, columns = (max(1, round(20 * side / max(shape))) for side in shape)
    expected = means(written, rows, columns)
    (top, bottom), (left, right) = (
        np.flatnonzero(pixels.any(axis=axis))[[0, -1]] for axis in (1, 0)
    )
    np.testing.assert_allclose(pixels[top : bottom + 1, left : right + 1], expected, atol=1e-6)
    centre = [(pixels.sum(axis) * np.arange(28)).sum() / pixels.sum() for axis in (1, 0)]
    np.testing.assert_allclose(centre, 13.5, atol=0.51)


def test_mnists_own_digits_stay_as_they_are(page: Page) -> None:
    digits = load("mnist-5k").split("test", 30)[0][:, 0].double().numpy()
    moved = []
    for digit in digits:
        again = like_mnist(page, np.kron(digit, np.ones((10, 10))))
        assert again is not None
        # A faint edge may round the box, and with it the place, by a pixel.
        shifts = [np.roll(again, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        moved.append(min(np.abs(shifted - digit).mean() for shifted in shifts))
    assert np.median(moved) < 0.01


def test_nothing_written_is_nothing(page: Page) -> None:
    assert like_mnist(page, np.zeros((30, 30))) is None


def test_a_picture_as_text_is_the_same_in_the_page_and_in_python(page: Page) -> None:
    pictures = load("mnist-5k").split("test", 5)[0][:, 0]
    pictures = torch.cat([pictures, torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])
    for picture in pictures:
        text = page.evaluate("(p) => writtenPicture(p)", picture.flatten().tolist())
        assert text == written_picture(picture[None])
        back = torch.tensor(page.evaluate("(t) => Array.from(readPicture(t))", text)).float()
        assert torch.allclose(back, read_picture(text).flatten())
        assert (back - picture.flatten()).abs().max() <= 1 / 30 + 1e-6
    assert all(len(written_picture(picture[None])) < 500 for picture in pictures[:5])


@pytest.mark.parametrize("text", ["", "0", "gg", "zz!", "A" * 784])
def test_a_text_that_is_no_picture_is_refused(page: Page, text: str) -> None:
    assert page.evaluate("(t) => readPicture(t)", text) is None
    with pytest.raises(ValueError, match="no picture of 28"):
        read_picture(text)


def test_written_pictures_come_back() -> None:
    picture: Tensor = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert (read_picture(written_picture(picture)) - picture).abs().max() <= 1 / 30 + 1e-6
