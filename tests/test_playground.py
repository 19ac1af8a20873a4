"""The playground in Python, and its page in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import traitlets
from pages import LINE, PHONE, check_open_to_all, write_page
from playwright.sync_api import Page, expect

from robustnb.widgets.playground import Playground

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

IDLE = "html:not(:has(.explorable-picture[aria-busy=true]))"
FEW = {"num_points": 20}


@pytest.fixture
def explorer() -> Playground:
    return Playground(("plain", "FGSM training"), **FEW)


@pytest.fixture
def page_file(explorer: Playground, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def settled(page: Page) -> tuple[str, list[str]]:
    """Return the line of text and both planes as they are when nothing is computed any more."""
    page.wait_for_selector(IDLE, state="attached")
    planes = page.locator(".explorable-planes canvas")
    pixels = planes.evaluate_all("all => all.map((canvas) => canvas.toDataURL())")
    return page.locator(LINE).text_content() or "", pixels


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def steps(text: str) -> int:
    found = re.match(r"After (\d+) steps", text)
    return int(found[1]) if found else 0


def play_a_while(page: Page) -> tuple[str, list[str]]:
    press(page, "Play")
    page.wait_for_function("location.hash || document.querySelectorAll('svg path.new').length")
    page.wait_for_timeout(400)
    press(page, "Pause")
    return settled(page)


# --- in the page


def test_it_trains_while_it_plays_and_never_by_itself(visit: Visit, page_file: Path) -> None:
    with visit(page_file, reduced_motion="reduce") as page:
        text, before = settled(page)
        page.wait_for_timeout(300)
        assert settled(page) == (text, before)
        assert text.startswith("Before training, plain: ")
        text, after = play_a_while(page)
        assert steps(text) > 0
        assert before[0] != after[0] != after[1]


def test_what_is_seen_follows_from_the_settings_and_the_step(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        page.get_by_label("medium").check()
        played = play_a_while(page)
        step = steps(played[0])
        page.wait_for_function(f"location.hash.includes('playground.step={step}&')")
        address = page.evaluate("location.href")
    with visit(address) as page:
        assert settled(page) == played
        press(page, "Step")
        stepped = settled(page)
        assert steps(stepped[0]) == step + 1
        press(page, "Reset")
        start = settled(page)
        assert start[0].startswith("Before training")
        assert start[1] != stepped[1]


def test_playing_begins_again_after_the_last_step(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.resolve().as_uri()}#playground.step=600") as page:
        assert steps(settled(page)[0]) == 600
        assert steps(play_a_while(page)[0]) < 600


def test_both_networks_start_alike(visit: Visit, page_file: Path) -> None:
    address = f"{page_file.resolve().as_uri()}#playground.step=10&playground.right=plain"
    with visit(address) as page:
        text, (left, right) = settled(page)
        assert left == right
        first, second = text.removesuffix(".").split(", ", 1)[1].split("; ")
        assert first == second
        page.get_by_role("combobox", name="right network").select_option("BANG")
        _, (left, right) = settled(page)
        assert left != right


def test_every_control_changes_the_picture(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.resolve().as_uri()}#playground.step=5") as page:
        seen = [settled(page)[1]]
        for act in (
            lambda: page.get_by_role("slider", name="radius").press("End"),
            lambda: page.get_by_label("discs").check(),
            lambda: page.get_by_role("combobox", name="points").select_option("two circles"),
            lambda: page.get_by_role("combobox", name="left network").select_option(
                "winner takes all"
            ),
            lambda: page.get_by_role("combobox", name="right network").select_option(
                "learned noise"
            ),
            lambda: press(page, "New seed"),
        ):
            act()
            page.evaluate("new Promise(requestAnimationFrame)")
            seen.append(settled(page)[1])
            assert seen[-1] != seen[-2]
        expect(page.get_by_text("learned noise, mean σ 0.")).to_be_visible()


def test_points_of_the_readers_own(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        page.get_by_role("combobox", name="points").select_option("your own")
        expect(page.locator(LINE)).to_contain_text("There are no points yet")
        plane = page.locator(".explorable-planes canvas").first
        size = (plane.bounding_box() or {})["width"]
        plane.click(position={"x": size / 4, "y": size / 4})
        page.get_by_label("class").select_option("blue diamond")
        page.get_by_label("x", exact=True).fill("0.5")
        page.get_by_label("y", exact=True).fill("-1.2")
        press(page, "Add point")
        page.wait_for_function("location.hash.includes('b50,-120')")
        found = re.search(r"own=a(-?\d+),(-?\d+)b50,-120", page.evaluate("location.hash"))
        assert found
        assert int(found[1]) == pytest.approx(-100, abs=2)
        assert int(found[2]) == pytest.approx(100, abs=2)
        assert steps(play_a_while(page)[0]) > 0
        press(page, "Remove last")
        page.wait_for_function("!location.hash.includes('b50')")
        press(page, "Remove all")
        expect(page.locator(LINE)).to_contain_text("There are no points yet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_is_open_to_all(visit: Visit, page_file: Path, scheme: Any) -> None:
    address = f"{page_file.resolve().as_uri()}#playground.points=own"
    with visit(address, color_scheme=scheme, **PHONE) as page:
        settled(page)
        check_open_to_all(page, scheme)
        planes = page.locator(".explorable-planes canvas")
        tops = planes.evaluate_all("all => all.map((one) => one.getBoundingClientRect().top)")
        assert tops[0] == pytest.approx(tops[1], abs=1)  # side by side


def test_it_is_printed_as_a_still_picture(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.resolve().as_uri()}#playground.step=20") as page:
        settled(page)
        page.emulate_media(media="print")
        expect(page.locator(".explorable-planes canvas").first).to_be_visible()


def test_without_javascript_a_picture_stands_in(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        picture = page.get_by_role("img", name=re.compile(r"^plain: \d+% of the points and"))
        assert (picture.bounding_box() or {"width": 0})["width"] > 300
        expect(page.locator("p").first).to_contain_text("The controls need JavaScript.")


# --- in Python


def test_equal_playgrounds_give_the_same_bytes(explorer: Playground) -> None:
    assert explorer.static_html() == Playground(("plain", "FGSM training"), **FEW).static_html()


def test_python_sets_and_sees_the_state() -> None:
    shown = Playground(("fixed noise", "learned noise"), sigma=0.3, eps=0.2)
    seen: list[int] = []
    shown.observe(lambda change: seen.append(change["new"]), "step")
    shown.set_state({"step": 40})  # what a message from the page does
    assert seen == [40]
    assert shown.settings["sigma"] == 0.3
    assert repr(shown) == "<fixed noise and learned noise on moons, eps 0.2, step 40>"


def test_points_may_be_listed() -> None:
    shown = Playground(points=[(1.2, -0.5, 0), (-0.3, 0.4, 1)], norm="l2")
    assert (shown.points, shown.own) == ("own", "a120,-50b-30,40")
    assert "PGD training: " in shown.fallback()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"defences": "plain"}, "defences is 'plain': it must name two, one for each network."),
        ({"defences": ("plain", "magic")}, "right is 'magic': it must be one of plain, L2, fixed"),
        ({"points": "stars"}, "points is 'stars': it must be one of moons, circles, XOR, blobs, o"),
        ({"points": [(3.0, 0.0, 0)]}, "points holds (3.0, 0.0, 0): a point is (x, y, class) with"),
        ({"points": [(1.0, 0.0, 2)]}, "points holds (1.0, 0.0, 2): a point is (x, y, class) with"),
        ({"points": [(1.0, 0.0)]}, "points holds (1.0, 0.0): a point is (x, y, class) with"),
        ({"norm": "l1"}, "norm is 'l1': it must be one of linf, l2."),
        ({"eps": 0.6}, "eps is 0.6: it must be from 0 to 0.5."),
        ({"step": 601}, "step is 601: it must be from 0 to 600."),
        ({"speed": 3}, "speed is 3: it must be one of 1, 4, 16."),
        ({"own": "c1,2"}, "own is 'c1,2': it must be points in hundredths, such as 'a120,-50b-30"),
        ({"sigma": -1.0}, "sigma is -1.0: it must be from 0 to 5."),
        ({"units": 3}, "units is 3: it must divide the 32 neurons."),
        ({"num_points": 1000}, "num_points is 1000: it must be from 2 to 200."),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, traitlets.TraitError), match=f"^{re.escape(message)}"):
        Playground(**arguments)
