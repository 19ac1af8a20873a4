"""Drawings against matplotlib's own numbers, Pillow's pixels and an XML parser."""

import base64
import io
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from robustnb.drawing import Drawing

SVG = "{http://www.w3.org/2000/svg}"


def line_plot() -> Drawing:
    figure, axes = plt.subplots(figsize=(5, 3))
    x = np.linspace(0, 1, 200)
    axes.plot(x, np.sin(9 * x), color="#d95f02", label="sine")
    axes.plot(0.5, 0.2, "ko")
    axes.set_xlabel("strength ε")
    axes.set_title("$x^2$")
    axes.legend()
    return Drawing(figure, "A sine curve and a dot.")


def polar_plot(radius: float) -> Drawing:
    figure, axes = plt.subplots(subplot_kw={"projection": "polar"})
    axes.plot([0, 1, 2], [0, radius, 1])
    axes.set_rmax(radius)
    return Drawing(figure, "Two lines round a pole.")


def parsed(drawing: Drawing) -> Element:
    return ElementTree.fromstring(drawing.svg())


def ids(svg: Element) -> set[str]:
    return {element.attrib["id"] for element in svg.iter() if "id" in element.attrib}


def references(svg: Element) -> set[str]:
    values = [value for element in svg.iter() for value in element.attrib.values()]
    found = [re.findall(r"url\(#([^)]+)\)|^#(.+)", value) for value in values]
    return {first or second for pairs in found for first, second in pairs}


def test_black_takes_the_colour_of_the_page_and_other_colours_stay() -> None:
    svg = parsed(line_plot())
    assert svg.attrib["fill"] == "currentColor"
    styles = [element.attrib.get("style", "") for element in svg.iter()]
    assert not any("#000000" in style for style in styles)
    assert any("stroke: currentColor" in style for style in styles)
    assert any("stroke: #d95f02" in style for style in styles)


def test_text_stays_text_in_the_font_of_the_page() -> None:
    texts = {text.text: text for text in parsed(line_plot()).iter(f"{SVG}text")}
    assert {"strength ε", "sine", "0.2", "−0.5"} <= texts.keys()
    assert "font-family" not in texts["strength ε"].attrib["style"]


def test_only_a_chosen_font_is_kept() -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "code", family="monospace")
    (text,) = parsed(Drawing(figure, "A word.")).iter(f"{SVG}text")
    assert "font-family: monospace" in text.attrib["style"]


def test_the_frame_of_a_legend_has_the_colour_of_the_page() -> None:
    drawing = line_plot()
    assert "#ffffff" not in re.sub(r"var\([^)]*\)\)", "", drawing.svg())
    assert "fill: var(--pst-color-background" in drawing.svg()


def test_it_is_an_image_with_its_alt_text() -> None:
    alt = 'Is "5 < 6" & so on? </svg> ε'
    figure = Figure()
    svg = parsed(Drawing(figure, alt))
    assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", alt)
    html = Drawing(figure, alt)._repr_html_()
    assert html.startswith('<div class="fig"><svg')
    assert alt in repr(Drawing(figure, alt))


def test_the_same_figure_gives_the_same_bytes() -> None:
    drawing = line_plot()
    assert drawing.svg() == drawing.svg() == line_plot().svg()


def test_figures_on_one_page_share_no_id_and_refer_to_their_own() -> None:
    svgs = [parsed(drawing) for drawing in (line_plot(), polar_plot(2), polar_plot(3))]
    for svg in svgs:
        assert ids(svg) == references(svg) != set()
    assert len(set.union(*map(ids, svgs))) == sum(len(ids(svg)) for svg in svgs)


def test_a_line_plot_weighs_less_than_10_kb() -> None:
    assert len(line_plot()._repr_html_().encode()) < 10_000


def test_coordinates_are_right_to_a_hundredth_of_a_point() -> None:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    data = np.array([[0.123, 4.567], [1.987, 5.432], [2.5, 4.9]])
    axes.plot(*data.T, color="#123456")
    drawing = Drawing(figure, "Three points.")
    box = drawing.box()
    inches = axes.transData.transform(data) / figure.dpi
    expected = 72 * np.column_stack([inches[:, 0] - box.x0, box.y1 - inches[:, 1]])

    (path,) = [p for p in parsed(drawing).iter(f"{SVG}path") if "#123456" in p.attrib["style"]]
    drawn = np.array(re.findall(r"-?[\d.]+", path.attrib["d"]), dtype=float).reshape(-1, 2)
    np.testing.assert_allclose(drawn, expected, atol=0.011)


def test_small_images_keep_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (28, 28))
    figure = Figure()
    figure.subplots().imshow(pixels, cmap="gray")
    (image,) = parsed(Drawing(figure, "Noise.")).iter(f"{SVG}image")
    _, _, encoded = image.attrib["href"].partition("base64,")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as stored:
        np.testing.assert_array_equal(np.asarray(stored.convert("L")), 255 * pixels)
    assert "pixelated" in image.attrib["style"]


def test_images_over_one_another_are_not_melted_into_one() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.imshow(np.zeros((8, 8)))
    axes.imshow(np.ones((4, 4)), alpha=0.5, extent=(-0.5, 7.5, 7.5, -0.5))
    images = parsed(Drawing(figure, "A square on a square.")).iter(f"{SVG}image")
    assert [image.attrib["width"] for image in images] == ["8", "4"]


def test_pyplot_does_not_show_the_figure_again() -> None:
    before = plt.get_fignums()
    line_plot()
    assert plt.get_fignums() == before


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_alt_text_is_required(alt: str) -> None:
    with pytest.raises(ValueError, match="alt must say in words what the figure shows"):
        Drawing(Figure(), alt)


def test_only_figures_are_drawn() -> None:
    with pytest.raises(TypeError, match="made of a matplotlib Figure, got a value of type Axes"):
        Drawing(Figure().subplots(), "Axes.")
