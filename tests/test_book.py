"""The built book in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Locator, Page, expect

from robustnb.publishing.book import ROOT, Book
from robustnb.publishing.chapter import duration
from robustnb.publishing.notebook import read_notebook

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PAGES = [f"{page}.html" for page in Book(ROOT, "smoke").pages()]
CHAPTERS = [chapter.name for chapter in Book(ROOT, "smoke").chapters()]
STILL = {"claims", "audit", "defenses_compared"}  # without sliders
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(params=PAGES)
def page_file(built_book: Path, request: pytest.FixtureRequest) -> Path:
    return built_book / request.param


def picture(widget: Locator) -> str:
    """Return what a widget shows once it is done, apart from its sliders and texts."""
    expect(widget.locator("[aria-busy=true]")).to_have_count(0, timeout=30_000)
    return str(
        widget.evaluate("""root => [
            ...Array.from(root.querySelectorAll("svg"), drawn => drawn.outerHTML),
            ...Array.from(root.querySelectorAll("canvas"), drawn => drawn.toDataURL()),
        ].join()""")
    )


def luminance(page: Page, selector: str, which: str) -> float:
    """Return the mean of the red, green and blue of a computed colour, 0 to 255."""
    colour = page.locator(selector).first.evaluate(f"node => getComputedStyle(node)['{which}']")
    channels = colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]
    return sum(map(float, channels)) / 3


def wait_for_formulas(page: Page) -> None:
    number = page.locator("article .math").count()
    formulas = page.locator("article .math > mjx-container")
    expect(formulas).to_have_count(number, timeout=30_000)


def test_every_slider_changes_its_picture(page_file: Path, visit: Visit) -> None:
    with visit(page_file) as page:
        sliders = page.locator(".static-widget input[type=range]:enabled")
        controls = page.locator(".static-widget :is(input, select):enabled")
        assert page_file.stem not in set(CHAPTERS) - STILL or controls.count() > 0
        for slider in sliders.all():
            widget = slider.locator("xpath=ancestor::*[@class='static-widget']")
            slider.press("Home")
            first = picture(widget)
            slider.press("End")
            assert picture(widget) != first
            slider.press("Home")
            assert picture(widget) == first


def test_formulas_are_set_pictures_described_and_a_phone_wide_enough(
    page_file: Path, visit: Visit
) -> None:
    with visit(page_file, **PHONE) as page:
        wait_for_formulas(page)
        # What MathJax cannot read it marks as an error, what it does not know it sets in red.
        wrong = page.locator("mjx-container [data-mml-node=merror], mjx-container [fill=red]")
        expect(wrong).to_have_count(0)
        undescribed = page.locator(
            "article img:not([alt]), article img[alt=''],"
            "article [role=img]:not([aria-label], mjx-container *)"
        )
        expect(undescribed).to_have_count(0)
        assert page.locator(".fig > svg:not([role=img])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_switch_turns_page_and_figures_dark(built_book: Path, visit: Visit) -> None:
    with visit(built_book / f"book/{CHAPTERS[0]}.html", color_scheme="light") as page:
        assert luminance(page, "body", "backgroundColor") > 200
        assert luminance(page, ".fig svg", "fill") < 80
        while page.locator("html").get_attribute("data-theme") != "dark":
            page.locator(".theme-switch-button:visible").first.click()
        assert luminance(page, "body", "backgroundColor") < 60
        assert luminance(page, ".fig svg", "fill") > 180
        assert luminance(page, ".text_html p", "color") > 150


def test_search_works_without_a_server(built_book: Path, visit: Visit) -> None:
    with visit(f"{(built_book / 'search.html').as_uri()}?q=Bayesian") as page:
        expect(page.locator("#search-results a").first).to_be_visible()


def test_the_front_page_leads_to_the_book(built_book: Path, visit: Visit) -> None:
    with visit(built_book / "index.html") as page:
        page.wait_for_url(f"**/{PAGES[0]}")
        for name in CHAPTERS[1:]:
            row = page.get_by_role("row").filter(has=page.locator(f"a[href='{name}.html']"))
            expect(row).to_contain_text("images")
            expect(row).to_contain_text("smoke")


@pytest.mark.parametrize("name", CHAPTERS[1:])  # the first is the start page
def test_a_chapter_says_how_it_was_computed(built_book: Path, name: str) -> None:
    page = BeautifulSoup((built_book / f"book/{name}.html").read_text(), "html.parser")
    record = read_notebook(built_book.parent / f"chapters/{name}.ipynb")["metadata"]["robustnb"]
    note = page.select_one(".provenance")
    assert note is not None
    text = " ".join(note.text.split())
    facts = ("smoke", duration(record["seconds"]), record["hardware"], *record["dataset"])
    assert [fact for fact in facts if fact not in text] == []


def test_every_link_inside_the_book_leads_somewhere(built_book: Path) -> None:
    files = [*built_book.glob("*.html"), *built_book.glob("book/*.html")]
    pages = {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}
    dead = []
    for path, page in pages.items():
        for link in page.select("a[href], link[href], script[src], img[src]"):
            address = urlsplit(str(link.get("href") or link.get("src")))
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            known = pages.get(target)
            if not target.exists() or (
                known and address.fragment and not known.find(id=unquote(address.fragment))
            ):
                dead.append(f"{path.name}: {address.geturl()}")
    assert dead == []
