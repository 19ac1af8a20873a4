"""The explorables of the built book run measured networks, and show what their texts claim."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page

from robustnb.stored import Stored

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]


class Explorable:
    """One explorable of a page, as a reader uses it."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.root: Locator = page.locator(f'.static-widget[data-name="{name}"]')
        self.root.scroll_into_view_if_needed()

    def settled(self) -> str:
        """Return the line of text once all is computed."""
        self.page.wait_for_timeout(120)
        self.root.locator(".explorable-picture[aria-busy=true]").wait_for(state="detached")
        return self.root.locator("[aria-live=polite]").first.text_content() or ""

    def slide(self, label: str, value: str) -> str:
        """Move a slider step by step until it shows this value; return the line of text."""
        control = self.root.locator(".explorable-control", has_text=label).first
        slider, shown = control.locator("input[type=range]"), control.locator("output")
        for step in range(int(slider.get_attribute("max") or 0) + 1):
            slider.fill(str(step))
            if shown.text_content() == value:
                return self.settled()
        raise AssertionError(f"{label} has no {value}")

    def choose(self, label: str, option: str) -> str:
        """Choose one of several options; return the line of text."""
        control = self.root.locator(".explorable-control", has_text=label).first
        control.get_by_label(option, exact=True).check()
        return self.settled()


@contextmanager
def opened(visit: Visit, book: Path, chapter: str) -> Iterator[Page]:
    with visit(book / f"book/{chapter}.html") as page:
        page.wait_for_function(
            "document.querySelectorAll('.static-widget:not([data-mounted])').length === 0"
        )
        yield page


def share(line: str) -> float:
    """Return the share of images that a line says are right."""
    found = re.search(r"right on (\d+)%|(\d+)% of \d+ images are right", line)
    assert found is not None, line
    return float(found[1] or found[2])


def told(line: str, network: str) -> str:
    """Return the class that a line says a network names."""
    found = re.search(rf"{network}\S* (?:network )?(?:still )?says (\w+)", line)
    assert found is not None, line
    return found[1]


NETWORKS = ("plain", "Bayesian", "learned noise", "fixed noise", "BANG")


def test_the_first_screen_shows_a_network_that_is_fooled(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "intro") as page:
        page.set_viewport_size({"width": 1280, "height": 720})
        start = Explorable(page, "start")
        page.evaluate("scrollTo(0, 0)")
        line = start.settled()
        truth = re.search(r"True class: (\w+)", line)
        assert truth is not None
        assert told(line, "plain") != truth[1]
        assert sum(told(line, name) == truth[1] for name in NETWORKS) >= 3
        foot = start.root.locator(".explorable-foot").bounding_box()
        for seen in ("The attacked image", "The perturbation"):
            box = start.root.get_by_role("img", name=seen).bounding_box()
            assert box is not None
            assert foot is not None
            assert box["y"] + box["height"] <= foot["y"]  # the foot covers what is below it
        assert foot["y"] + foot["height"] <= 720


def test_every_control_of_the_start_page_changes_what_is_seen(
    visit: Visit, built_book: Path
) -> None:
    with opened(visit, built_book, "intro") as page:
        start = Explorable(page, "start")

        def seen() -> str:
            return start.settled() + str(
                start.root.locator(".explorable-picture").evaluate(
                    "node => node.innerHTML + [...node.querySelectorAll('canvas')].map("
                    "(canvas) => canvas.toDataURL())"
                )
            )

        first = seen()
        for attack in ("PGD, 10 steps", "minimum norm"):
            start.choose("attack", attack)
            assert seen() != first
        start.choose("attack", "FGSM")
        select = start.root.get_by_role("combobox", name="gradient of")
        for name in NETWORKS[1:]:
            select.select_option(name)
            assert seen() != first
        select.select_option("plain")
        assert seen() == first
        start.root.get_by_role("button", name="New random draws").click()
        assert seen() != first
        assert told(start.slide("strength ε", "0"), "plain") == told(start.settled(), "BANG")


CHAPTERS = (
    "adversarial_examples",
    "bayesian_weight_sampling",
    "bang",
    "noise_optimization",
    "stochastic_lwta",
)


@pytest.mark.parametrize("screen", [(1280, 720), (390, 844)])
@pytest.mark.parametrize("page_name", ["intro", "ten_minutes", *CHAPTERS])
def test_an_explorable_stands_within_the_first_two_screens(
    visit: Visit, built_book: Path, page_name: str, screen: tuple[int, int]
) -> None:
    width, height = screen
    viewport = {"viewport": {"width": width, "height": height}}
    with visit(built_book / f"book/{page_name}.html", **viewport) as page:
        page.locator(".explorable-picture canvas").first.wait_for(state="attached")
        top = page.locator(".explorable").first.evaluate("n => n.getBoundingClientRect().top")
    assert top <= 2 * height - 150  # so that one sees what it is


def test_draws_matter_where_the_weights_vary(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "bayesian_weight_sampling") as page:
        rho = Explorable(page, "rho")
        rho.slide("draws", "1")
        single = {value: share(rho.slide("rho_init", value)) for value in ("−30", "−3", "−1.5")}
        rho.slide("draws", "50")
        mean = {value: share(rho.slide("rho_init", value)) for value in ("−30", "−3", "−1.5")}
    assert mean["−30"] == single["−30"]
    assert mean["−1.5"] - single["−1.5"] >= 2
    assert mean["−3"] - mean["−1.5"] >= 4


def test_pruning_costs_what_the_table_says(visit: Visit, built_book: Path) -> None:
    stored = Stored("bayesian-weight-sampling")
    whole = stored.value("3", "average", "ensemble N=100")
    half = stored.value("4", "average", "pruned 50%")
    with opened(visit, built_book, "bayesian_weight_sampling") as page:
        pruning = Explorable(page, "pruning")
        left = {rate: share(pruning.slide("removed", rate)) for rate in ("0%", "50%", "90%")}
    assert left["0%"] - left["50%"] == pytest.approx(whole - half, abs=3)
    assert left["0%"] - left["90%"] >= 20


def test_the_plain_network_gives_in_before_the_bayesian_one(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "bayesian_weight_sampling") as page:
        eps = Explorable(page, "eps")
        lines = {value: eps.slide("strength, eps", value) for value in ("0.00", "0.06")}
    truth = told(lines["0.00"], "plain")
    assert f"The true class is {truth}" in lines["0.00"]
    assert told(lines["0.06"], "plain") != truth


def test_learned_noise_is_nearly_none_and_fixed_noise_is_not(
    visit: Visit, built_book: Path
) -> None:
    with opened(visit, built_book, "noise_optimization") as page:
        learned, fixed = Explorable(page, "learned"), Explorable(page, "fixed")
        small = {times: share(learned.slide("noise", times)) for times in ("× 0", "× 8", "× 64")}
        large = {times: share(fixed.slide("noise", times)) for times in ("× 0", "× 1", "× 4")}
    assert abs(small["× 0"] - small["× 8"]) <= 2
    assert small["× 8"] - small["× 64"] >= 10
    assert large["× 1"] - large["× 4"] >= 30


def test_bangs_own_gradient_fails_where_the_plain_one_succeeds(
    visit: Visit, built_book: Path
) -> None:
    with opened(visit, built_book, "bang") as page:
        attack = Explorable(page, "attack")
        attack.slide("strength ε", "0.15")
        right: dict[str, int] = {}
        for gradient in ("BANG", "plain"):
            attack.choose("gradient of", gradient)
            lines = []
            for image in attack.root.locator(".explorable-control canvas").all():
                image.click()
                lines.append(attack.settled())
            right[gradient] = sum("BANG network still says" in line for line in lines)
    assert right["BANG"] - right["plain"] >= 2


def test_noise_parts_bang_from_the_plain_network(visit: Visit, built_book: Path) -> None:
    with opened(visit, built_book, "bang") as page:
        std = Explorable(page, "std")
        line = std.slide("standard deviation", "140")
        truth = re.search(r"true class is (\w+)", line)
    assert truth is not None
    assert told(line, "BANG") == truth[1] != told(line, "plain")


@pytest.mark.parametrize(
    ("chapter", "name"),
    [("bayesian_weight_sampling", "rho"), ("bayesian_weight_sampling", "pruning")]
    + [("noise_optimization", name) for name in ("learned", "fixed")],
)
def test_the_networks_of_this_page_are_a_second_choice(
    visit: Visit, built_book: Path, chapter: str, name: str
) -> None:
    with opened(visit, built_book, chapter) as page:
        one = Explorable(page, name)
        table = one.settled()
        assert one.choose("networks", "of this page") != table
        assert one.choose("networks", "of the table") == table
