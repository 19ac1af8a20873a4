"""Sphinx extension: pages that need no network, and load no more than they use."""

import re
from base64 import b64encode
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from fontTools.subset import Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

# One file with every TeX extension and its glyphs; the other builds of MathJax load more files.
_MATHJAX = "tex-svg-full.js"
_MATHJAX_SCRIPT = re.compile(rf"<script[^>]*{re.escape(_MATHJAX)}[^>]*></script>")
# The theme's style sheet has the icons as a font.
_ICON_SCRIPT = re.compile(r"<script[^>]*fontawesome\.js[^>]*></script>")
_ICON = re.compile(r"\bfa-([a-z-]+)")
_FORMULA = re.compile(r'class="[^"]*\bmath\b')


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        _copy_mathjax(Path(app.outdir, "_static", "mathjax"))
        _lighten(Path(app.outdir))


def _copy_mathjax(folder: Path) -> None:
    found = find_spec("sphinx-mathjax-offline")
    assert found is not None
    assert found.origin is not None
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(found.origin).parent / "static" / "mathjax" / _MATHJAX
    copy_asset_file(str(source), str(folder))


def _lighten(pages: Path) -> None:
    """Drop the scripts of icons, and of formulas where a page has none."""
    static = pages / "_static"
    texts = {page: page.read_text(encoding="utf-8") for page in pages.rglob("*.html")}
    for page, text in texts.items():
        light = _ICON_SCRIPT.sub("", text)
        if not _FORMULA.search(text):
            light = _MATHJAX_SCRIPT.sub("", light)
        page.write_text(light, encoding="utf-8")
    for unused in (static / "scripts" / "fontawesome.js", *static.rglob("*.map")):
        unused.unlink()
    users = [*texts.values(), *(s.read_text("utf-8") for s in (static / "scripts").glob("*.js"))]
    style = static / "styles" / "pydata-sphinx-theme.css"
    sheet = style.read_text(encoding="utf-8")
    font = static / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.ttf"
    names = {name for text in users for name in _ICON.findall(text)}
    style.write_text(sheet + _icon_font(font, sheet, names), encoding="utf-8")


def _icon_font(font: Path, sheet: str, names: set[str]) -> str:
    """Return a style that holds the few icons in use: some browsers load no font from a file."""
    codes = [
        int(code, 16)
        for rule, code in re.findall(r"([^{}]*):before\{content:\"\\([0-9a-f]+)\"", sheet)
        if names & set(_ICON.findall(rule))
    ]
    icons = TTFont(font)
    subsetter = Subsetter()
    subsetter.populate(unicodes=codes)
    subsetter.subset(icons)
    icons.flavor = "woff"
    with BytesIO() as file:
        icons.save(file)
        data = b64encode(file.getvalue()).decode()
    return (
        "@font-face{font-family:Font Awesome\\ 6 Free;font-weight:900;"
        f"src:url(data:font/woff;base64,{data})}}"
    )
