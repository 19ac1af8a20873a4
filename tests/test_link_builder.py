"""The form for teachers, in the built book: a link that it makes opens what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import FrameLocator, Locator, Page, expect

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PHONE = {"viewport": {"width": 390, "height": 844}}


def chosen(page: Page, title: str, name: str) -> FrameLocator:
    """Choose a page and one of its explorables; return the frame that shows it."""
    page.get_by_role("combobox", name="Page").select_option(title)
    page.get_by_role("combobox", name="Explorable").select_option(name, timeout=60_000)
    return page.frame_locator("iframe")


def slider(frame: FrameLocator, name: str, label: str) -> Locator:
    return frame.locator(f".static-widget[data-name={name}]").get_by_role("slider", name=label)


def test_a_link_opens_the_values_and_hides_what_was_chosen(built_book: Path, visit: Visit) -> None:
    with visit(built_book / "book/teachers.html") as page:
        frame = chosen(page, "Balanced gradients", "attack")
        slider(frame, "attack", "strength").press("End")
        said = slider(frame, "attack", "strength").get_attribute("aria-valuetext")
        page.get_by_label("New random draws").check()
        expect(frame.get_by_role("button", name="New random draws")).to_be_hidden()
        page.get_by_label("attack.target=", exact=False).uncheck()
        link = page.get_by_role("textbox", name="Link").input_value()
    assert "attack.target" not in link
    assert f"attack.eps={said}" in link
    assert link.endswith("attack.hide=seed")
    with visit(link) as page:
        widget = page.locator(".static-widget[data-name=attack]")
        opened = widget.get_by_role("slider", name="strength")
        expect(opened).to_have_attribute("aria-valuetext", said or "")
        expect(widget.get_by_role("button", name="New random draws")).to_be_hidden()
        expect(widget.locator(".explorable-notice")).to_have_count(0)


def test_the_form_offers_what_the_pages_have(built_book: Path, visit: Visit) -> None:
    with visit(built_book / "book/teachers.html") as page:
        titles = page.get_by_role("combobox", name="Page").locator("option").all_text_contents()
        assert titles[:2] == ["Robust neural networks, put to the test", "In ten minutes"]
        assert "Stochastic local winner-takes-all" in titles
        assert not any("teachers" in title for title in titles)
        page.get_by_role("combobox", name="Page").select_option("Bayesian weight sampling")
        offered = page.get_by_role("combobox", name="Explorable").locator("option")
        with visit(built_book / "book/bayesian_weight_sampling.html") as other:
            widgets = other.locator(".static-widget[data-name]")
            names = widgets.evaluate_all("widgets => widgets.map((one) => one.dataset.name)")
        expect(offered).to_have_count(len(names), timeout=60_000)
        assert sorted(offered.all_text_contents()) == sorted(names)


def test_the_list_of_explorables_says_that_it_loads(built_book: Path, visit: Visit) -> None:
    with visit(built_book / "book/teachers.html") as page:
        page.evaluate("""() => {
            const list = document.querySelector("[name=explorable]");
            const note = () => (globalThis.lists ??= []).push(
              [list.disabled, [...list.options].map((one) => one.text).join()]);
            new MutationObserver(note).observe(list, { childList: true, attributes: true });
            const pages = document.querySelector("[name=page]");
            pages.selectedIndex = 2;
            pages.dispatchEvent(new Event("change"));
        }""")
        offered = page.get_by_role("combobox", name="Explorable")
        expect(offered).to_be_enabled(timeout=60_000)
        lists = page.evaluate("lists")
    assert lists[0] == [True, "loading…"]
    assert len({names for _, names in lists}) == 2  # it fills at once


def test_what_cannot_be_hidden_or_drawn_is_said(built_book: Path, visit: Visit) -> None:
    address = (built_book / "book/intro.html").as_uri()
    with visit(f"{address}#start.drawing=xyz&start.hide=colour,eps") as page:
        notice = page.locator(".explorable-notice")
        expect(notice).to_contain_text("drawing cannot be xyz")
        expect(notice).to_contain_text("colour cannot be hidden: copy")
        page.evaluate("location.hash = 'start.eps=0.1'")
        expect(notice).to_have_count(0)


def test_the_form_has_no_findings_and_fits_a_phone(built_book: Path, visit: Visit) -> None:
    from browser import axe_findings

    with visit(built_book / "book/teachers.html", **PHONE) as page:
        chosen(page, "Balanced gradients", "attack")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert axe_findings(page, ".link-builder") == []
