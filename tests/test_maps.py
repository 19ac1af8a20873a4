"""Maps of a kind have one scheme of colours, in the book's figures and in its pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn import axes_of
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from pages import add_functions

from robustnb import plots
from robustnb.plots.maps import HEAT, SIGNED
from robustnb.widgets.static import HERE as MODULES

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]


def lightness(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE L* (0 to 100) of colours (N, 3) of sRGB."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


def test_heat_goes_from_dark_to_light_in_even_steps() -> None:
    levels = lightness(HEAT(np.linspace(0, 1, 101))[:, :3])
    assert levels[0] < 5
    assert levels[-1] > 95
    assert np.abs(levels - np.linspace(levels[0], levels[-1], 101)).max() < 6


def test_the_pages_have_the_colours_of_the_figures(visit: Visit, tmp_path: Path) -> None:
    blank = tmp_path / "page.html"
    blank.write_text("<!doctype html><title>blank</title>")
    shares = [-1, -0.6, -0.1, 0, 0.01, 0.2, 0.25, 0.4, 0.77, 1]
    with visit(blank) as page:
        add_functions(page, MODULES / "colours.js")
        signed, heated = page.evaluate(
            "shares => [signedColour, heat].map((colour) => shares.map((one) => colour(one)))",
            shares,
        )
    for share, colour, hot in zip(shares, signed, heated, strict=True):
        expected = 255 * np.array(SIGNED((1 + share) / 2))
        assert colour[3] == pytest.approx(expected[3], abs=2)
        assert share == 0 or colour[:3] == pytest.approx(expected[:3], abs=1)
        assert hot == pytest.approx(255 * np.array(HEAT(float(max(0, share)))), abs=3)


def test_more_is_blue_and_less_vermilion() -> None:
    assert SIGNED(1.0)[:3] == pytest.approx(to_rgb("#0072B2"))
    assert SIGNED(0.0)[:3] == pytest.approx(to_rgb("#D55E00"))
    assert SIGNED(0.5)[3] < 0.01


def test_perturbations_of_a_figure_have_one_scale_and_a_bar() -> None:
    digit = np.linspace(0, 1, 16).reshape(1, 4, 4)
    small, large = 0.1 * (digit - 0.5), 0.4 * (digit - 0.75)
    drawing = plots.images([[digit, small], [digit, large]], [["a", "b"], ["c", "d"]])
    *panels, bar = axes_of(drawing)
    shown = [axes.images[0] for axes in panels]
    assert [image.get_clim() for image in shown[::2]] == [(0, 1)] * 2
    assert [image.get_clim() for image in shown[1::2]] == [pytest.approx((-0.3, 0.3))] * 2
    assert {image.get_cmap().name for image in shown} == {"gray", "signed"}
    assert [text.get_text() for text in bar.get_xticklabels()] == ["−0.3", "0", "0.3"]
    assert bar.get_xlabel() == "change of a pixel"
    assert bar.get_xlim() == pytest.approx((-0.3, 0.3))


def test_heat_maps_have_one_scale_or_say_that_they_have_not() -> None:
    digit, maps = np.zeros((1, 2, 2)), [np.full((2, 2), 0.25), np.eye(2)]
    for limit, limits, top in (
        (None, [(0, 0.25), (0, 1)], "most of each map"),
        (2, [(0, 2)] * 2, "2"),
    ):
        drawing = plots.images(
            [[digit] * 2, maps], [["image"] * 2, ["map"] * 2], maps=1, limit=limit, scale="slope"
        )
        *panels, bar = axes_of(drawing)
        assert [axes.images[0].get_clim() for axes in panels] == [(0, 1)] * 2 + limits
        assert panels[2].images[0].get_cmap().name == "heat"
        assert [text.get_text() for text in bar.get_xticklabels()] == ["0", top]
        assert bar.get_xlabel() == "slope"


def test_no_map_of_the_book_has_colours_of_its_own() -> None:
    root = MODULES.parents[1]
    texts = {file: file.read_text() for file in root.glob("robustnb/**/*.py")}
    texts |= {file: file.read_text() for file in root.glob("book/*.ipynb")}
    assert [file.name for file, text in texts.items() if "magma" in text or "RdBu" in text] == []
