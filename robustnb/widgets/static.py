"""Widgets that go on working in a static page, where no kernel runs."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from robustnb.widgets.modules import sources

HERE = Path(__file__).parent
_WORTH_PACKING = 0.95  # of the length without
_EXPORT = "export default { render };"
_HOST = (HERE / "static_host.js").read_text(encoding="utf-8")
# Loads the host once for the whole page; import() of a file would fail over file://.
_MOUNT = """{
  const widget = document.currentScript.parentElement;
  const source = () => document.getElementById("HOST").textContent;
  const address = () => URL.createObjectURL(new Blob([source()], { type: "text/javascript" }));
  const hosts = (globalThis.robustnbHosts ??= {});
  hosts["HOST"] ??= import(address());
  hosts["HOST"].then(({ mount }) => mount(widget));
}"""


class StaticWidget(anywidget.AnyWidget):
    """Show a widget in Jupyter and, by the same module, in a page without a kernel.

    A subclass names its ES module in `_module`, a file of this folder or a path; what the module
    imports comes with it, and its last line is `export default { render };`. Traits that the module
    reads are tagged with `sync=True`; those in `_shared` (numbers, texts or bools) are kept in the
    page's address as `#name.trait=value`. Without JavaScript the page shows `fallback()`, and also
    without a kernel if the module `_needs_kernel()`. A keyword that is no trait raises TypeError.
    """

    _module: ClassVar[str | Path]
    _shared: ClassVar[tuple[str, ...]] = ()
    _css = HERE / "explorable.css"

    name = traitlets.Unicode().tag(sync=True)
    hidden = traitlets.List(traitlets.Unicode()).tag(sync=True)
    blobs = traitlets.Dict(key_trait=traitlets.Unicode(), value_trait=traitlets.Unicode()).tag(
        sync=True
    )

    def __init_subclass__(cls, **options: Any) -> None:
        """Join the module and what it imports to what Jupyter loads."""
        if "_module" in vars(cls):
            cls._esm = "\n".join(cls._sources())
        super().__init_subclass__(**options)

    @classmethod
    def _sources(cls) -> list[str]:
        module = HERE / cls._module
        texts = sources(module)
        if not texts[-1].endswith(_EXPORT):
            raise ValueError(f"the last line of {module.name} must be '{_EXPORT}'")
        return texts

    def __init__(self, **traits: Any) -> None:
        if unknown := sorted(traits.keys() - set(self.trait_names())):
            known = ", ".join(sorted(self._own_traits() - traits.keys()))
            raise TypeError(f"{type(self).__name__} has no {unknown[0]!r}: it also takes {known}.")
        super().__init__(**traits)

    @traitlets.default("name")
    def _default_name(self) -> str:
        return type(self).__name__.removesuffix("Explorer").lower()

    @traitlets.validate("name")
    def _check_name(self, proposal: Mapping[str, Any]) -> str:
        name: str = proposal["value"]
        if not re.fullmatch(r"[\w-]+", name):
            raise traitlets.TraitError(
                f"name is {name!r}: it must be letters, digits, '-' and '_', for the address."
            )
        return name

    def _needs_kernel(self) -> bool:
        return False

    def fallback(self) -> str:
        """Return the HTML that stands here where no JavaScript runs."""
        return "<p>This figure needs JavaScript.</p>"

    def static_html(self) -> str:
        """Return HTML that needs no kernel and no network; equal widgets give equal bytes.

        What several widgets can share has an id made from its content, so that a page needs each
        but once. Raises ValueError if a text would end its own script element.
        """
        if self._needs_kernel():
            style = f'<style id="{_identity(str(self._css))}">{self._css}</style>'
            return f'<div class="static-widget" data-mounted>{style}\n{self.fallback()}</div>'
        texts = self._sources()
        blobs = map(_packed, self.blobs.values())
        shared = "\n".join(map(_text_script, [_HOST, *texts, *blobs]))
        # What has no setting in the address needs no name there.
        name = f' data-name="{escape(self.name)}"' if self._address() else ""
        return (
            f'<div class="static-widget"{name}>'
            f'<style id="{_identity(str(self._css))}">{self._css}</style>\n'
            f"<div>{self.fallback()}</div>\n"
            f'<script type="application/json">{self._for_the_host(texts)}</script>\n'
            f"{shared}\n<script>{_MOUNT.replace('HOST', _identity(_HOST))}</script></div>"
        )

    def _for_the_host(self, texts: Iterable[str]) -> str:
        page = {
            "state": self._static_state(),
            "sources": list(map(_identity, texts)),
            "blobs": {digest: _identity(_packed(text)) for digest, text in self.blobs.items()},
            "address": list(self._address().items()),  # in this order
        }
        text = json.dumps(page, sort_keys=True, allow_nan=False, ensure_ascii=False)
        return text.replace("</", r"<\/").replace("<!--", r"\u003c!--")

    def _static_state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.get_state(list(self._own_traits()))
        return state

    def _own_traits(self) -> set[str]:
        names = set(self.keys) - set(anywidget.AnyWidget.class_trait_names()) - {"blobs"}
        return {name for name in names if not name.startswith("_")}

    def _address(self) -> dict[str, dict[str, Any]]:
        """Return, for each key of the address, the trait that it stands for."""
        return {name: {"trait": name} for name in self._shared}

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return data | {"text/html": self.static_html()}, metadata


@lru_cache(maxsize=64)
def _packed(blob: str) -> str:
    """Return a base64 text compressed, as static_host.js reads it, where that saves bytes."""
    packed = base64.b64encode(gzip.compress(base64.b64decode(blob), mtime=0)).decode()
    return f"gzip:{packed}" if len(packed) < _WORTH_PACKING * len(blob) else blob


def _identity(text: str) -> str:
    return f"robustnb-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _text_script(text: str) -> str:
    if found := re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError(f"a text for the page must not hold {found[0]!r}: its script would end")
    return f'<script type="text/plain" id="{_identity(text)}">{text}</script>'
