"""Matplotlib figures as inline SVG: sharp at any size, described in words, in light and dark."""

import base64
import hashlib
import io
import re
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.transforms import Bbox

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_MARGIN = 0.05  # inches around what is drawn
_IN_PAGE = "max-width:100%;height:auto"
_SMALL_IMAGE = 256  # pixels a side: up to this size the page scales the image

ElementTree.register_namespace("", _SVG)


@dataclass(frozen=True)
class Drawing:
    """Show a figure as inline SVG whose black takes the colour of the page's text.

    `alt` describes the figure in a sentence; screen readers read it out, and it is shown where the
    figure cannot be. The figure is closed in pyplot, so that a notebook does not show it twice.
    """

    figure: Figure
    alt: str

    def __post_init__(self) -> None:
        _check(self.figure, self.alt)
        plt.close(self.figure)

    def box(self) -> Bbox:
        """Return the rectangle that holds everything drawn, in inches."""
        self.figure.draw_without_rendering()
        return self.figure.get_tightbbox().padded(_MARGIN)

    def svg(self, box: Bbox | None = None) -> str:
        """Return the SVG element, cropped to `box` in inches; equal figures give equal bytes."""
        markup = _saved(self.figure, box or self.box())
        svg = ElementTree.fromstring(markup)
        _drop_what_a_page_has(svg)
        _take_the_colours_of_the_page(svg)
        _shorten(svg)
        _make_ids_unique(svg, hashlib.sha256(markup.encode()).hexdigest()[:8])
        svg.attrib |= {"role": "img", "aria-label": self.alt}
        return ElementTree.tostring(svg, encoding="unicode")

    def _repr_html_(self) -> str:
        return f'<div class="fig">{self.svg()}</div>'

    def __repr__(self) -> str:
        return f"<figure: {self.alt}>"


def still(svg: str, alt: str) -> str:
    """Return the SVG of a Drawing as an <img>, black on white.

    Notebooks that are opened again without being trusted keep images, and of an <svg> only its
    letters.
    """
    alone = svg.replace(_IN_PAGE, "background:#fff;font-family:sans-serif", 1)
    data = base64.b64encode(alone.encode()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def _check(figure: object, alt: object) -> None:
    if not isinstance(figure, Figure):
        kind = type(figure).__name__
        raise TypeError(f"a Drawing is made of a matplotlib Figure, got a value of type {kind}")
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must say in words what the figure shows, got {alt!r}")


def _saved(figure: Figure, box: Bbox) -> str:
    for image in figure.findobj(AxesImage):
        _keep_pixels(image)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "robustnb", "svg.fonttype": "none"}):
        # 144 dots an inch, twice those of SVG: what is resampled stays sharp on fine screens.
        without_date = {"Date": None}
        figure.savefig(
            buffer, format="svg", transparent=True, bbox_inches=box, dpi=144, metadata=without_date
        )
    return buffer.getvalue()


def _keep_pixels(image: AxesImage) -> None:
    """Embed a small image without resampling: fewer bytes, and pixels stay sharp at any zoom."""
    blocky = image.get_interpolation() in ("auto", "antialiased", "nearest")
    if blocky and max(image.get_size()) <= _SMALL_IMAGE:
        image.set_interpolation("none")


def _drop_what_a_page_has(svg: Element) -> None:
    """Remove the metadata and the style sheet, which would apply to every SVG of the page."""
    for parent in list(svg.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    svg.attrib |= {"stroke-linejoin": "round", "style": _IN_PAGE}


def _take_the_colours_of_the_page(svg: Element) -> None:
    # matplotlib leaves black fills out, so the root's fill is theirs.
    svg.set("fill", "currentColor")
    for element in svg.iter():
        if style := element.get("style"):
            style = re.sub(r"(stroke|fill): #000000", r"\1: currentColor", style)
            element.set("style", _take_the_font_of_the_page(style))
    for group in svg.iter(f"{{{_SVG}}}g"):
        if group.get("id", "").startswith("legend"):
            _see_through(group)


def _take_the_font_of_the_page(style: str) -> str:
    def family(match: re.Match[str]) -> str:
        names = match[1].split(", ")
        if len(names) == 1:  # a formula, whose letters have fixed places
            return f"; font-family: {names[0]}, sans-serif"
        return "" if names[-1] == "sans-serif" else f"; font-family: {names[-1]}"

    return re.sub(r"; font-family: ([^;]*)", family, style)


def _see_through(legend: Element) -> None:
    """Give the frame of a legend the colour of the page behind it."""
    frame = legend.find(f"{{{_SVG}}}g/{{{_SVG}}}path")
    if frame is not None:
        page = "var(--pst-color-background, var(--jp-layout-color0, #ffffff))"
        frame.set("style", frame.get("style", "").replace("#ffffff", page))


def _shorten(svg: Element) -> None:
    """Round coordinates to a hundredth of a point and drop blanks between the elements."""
    for element in svg.iter():
        element.tail = None
        if element.text and not element.text.strip(" \n"):
            element.text = None
        for name in ("d", "x", "y"):
            if value := element.get(name):
                element.set(name, re.sub(r"\s+", " ", _rounded(value)).strip())
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]


def _rounded(numbers: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda number: f"{round(float(number[0]), 2):g}", numbers)


def _make_ids_unique(svg: Element, prefix: str) -> None:
    """Keep the ids that are referred to, with a prefix that no other figure has."""
    names: dict[str, str] = {}

    def renamed(reference: re.Match[str]) -> str:
        return names.setdefault(reference[0], f"{prefix}-{len(names)}")

    for element in svg.iter():
        if _HREF in element.attrib:
            element.set("href", element.attrib.pop(_HREF))
        for name, value in element.items():
            element.set(name, re.sub(r"(?<=url\(#)[^)]+|(?<=^#).+", renamed, value))
    for element in svg.iter():
        if (name := element.attrib.pop("id", "")) in names:
            element.set("id", names[name])
