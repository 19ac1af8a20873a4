"""Widgets that go on working in a static page, where no kernel runs."""

import json
import re
from pathlib import Path
from typing import Any

import anywidget

HERE = Path(__file__).parent
_HOST = (HERE / "static_host.js").read_text(encoding="utf-8")
_EXPORT = "export default { render };"


class StaticWidget(anywidget.AnyWidget):
    """Show a widget in Jupyter and, by the same module, in a page without a kernel.

    A subclass names its module in `_esm` and tags the traits that the module reads with
    `sync=True`. The module imports nothing and ends with `export default { render };`.
    Without JavaScript the page shows `fallback()`.
    """

    _css = HERE / "explorable.css"

    def fallback(self) -> str:
        """Return the HTML that stands here where no JavaScript runs."""
        return "<p>This figure needs JavaScript.</p>"

    def static_html(self) -> str:
        """Return HTML that needs no kernel and no network; equal widgets give equal bytes."""
        return (
            f'<div class="static-widget"><style>{self._css}</style>\n'
            f"<div>{self.fallback()}</div>\n"
            f'<script type="application/json">{self._static_state()}</script>\n'
            f"<script>{_script(str(self._esm))}</script></div>"
        )

    def _static_state(self) -> str:
        names = set(self.keys) - set(StaticWidget.class_trait_names())
        state = self.get_state([name for name in names if not name.startswith("_")])
        text = json.dumps(state, sort_keys=True, allow_nan=False, ensure_ascii=False)
        return text.replace("</", r"<\/").replace("<!--", r"\u003c!--")

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return data | {"text/html": self.static_html()}, metadata


def _script(module: str) -> str:
    """Turn an ES module into a plain script, which knows where in the page it stands."""
    source = module.strip()
    imports = re.search(r"^\s*import\b", source, re.MULTILINE)
    if imports or "</script" in source or not source.endswith(_EXPORT):
        raise ValueError(
            f"a widget's module must import nothing, hold no '</script' and end with '{_EXPORT}'"
        )
    body = source.removesuffix(_EXPORT)
    return (
        '(() => {\n"use strict";\nconst script = document.currentScript;\n'
        f"const render = (() => {{\n{body}return render;\n}})();\n"
        f"{_HOST}mount(script, render);\n}})();"
    )
