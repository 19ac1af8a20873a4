"""Pages of one explorable for tests, and what they show."""

from pathlib import Path

import torch
from playwright.sync_api import Page, expect
from torch import Tensor

from robustnb.widgets.modules import sources
from robustnb.widgets.static import StaticWidget

LINE = ".explorable [aria-live=polite]"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
IN_PAGE = Path(__file__).with_name("in_page.js")


def write_page(folder: Path, widget: StaticWidget) -> Path:
    """Write a page that holds the widget alone, as in a built book."""
    page = folder / "page.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    body = widget.static_html()
    page.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
    return page


def add_functions(page: Page, module: Path) -> None:
    """Let a page call each function of a module and of all that it imports by its name."""
    source = "\n".join(sources(module)).removesuffix("export default { render };")
    page.add_script_tag(content=source)


def said(page: Page, awaited: str) -> str:
    """Return the line of text once it holds what is awaited and nothing newer is to come."""
    expect(page.locator(LINE)).to_contain_text(awaited)
    page.wait_for_selector("html:not(:has([aria-busy=true]))", state="attached")
    return page.locator(LINE).text_content() or ""


def probabilities(page: Page) -> Tensor:
    """Return the probabilities shown, as high as their bars are."""
    return torch.tensor(
        page.locator(".explorable-bars").evaluate(
            """(svg) => {
              const [top, bottom] = [...svg.querySelectorAll("line")].map((one) => one.y1.baseVal);
              const bars = [...svg.querySelectorAll(".bar")];
              const whole = bottom.value - top.value;
              return bars.map((bar) => Number(bar.getAttribute("height")) / whole);
            }"""
        )
    )


def check_open_to_all(page: Page, scheme: str = "light") -> None:
    """Check that the page is no wider than its window, and that axe-core finds no fault."""
    from browser import axe_findings  # where pytest has prepared it

    page.evaluate("scheme => (document.documentElement.style.colorScheme = scheme)", scheme)
    assert axe_findings(page) == []
    # A phone's window widens with what it shows, so that its innerWidth would prove nothing.
    width = page.viewport_size["width"]  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
