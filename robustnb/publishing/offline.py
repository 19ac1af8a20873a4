"""Sphinx extension: the pages carry their own MathJax, so that they need no network."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

# One file with every TeX extension and its glyphs; the other builds of MathJax load more files.
_MATHJAX = "tex-svg-full.js"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", _copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        found = find_spec("sphinx-mathjax-offline")
        assert found is not None
        assert found.origin is not None
        folder = Path(app.outdir, "_static", "mathjax")
        folder.mkdir(parents=True, exist_ok=True)
        source = Path(found.origin).parent / "static" / "mathjax" / _MATHJAX
        copy_asset_file(str(source), str(folder))
