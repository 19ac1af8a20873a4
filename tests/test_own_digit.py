"""A digit of the reader's own under attack: drawn, dropped, linked, wiped, and seen from Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import traitlets
from pages import PHONE, check_open_to_all, said, write_page
from playwright.sync_api import Page

from robustnb.models import fully_connected
from robustnb.randomness import initial_weights
from robustnb.widgets.attack import AttackExplorer
from robustnb.widgets.pictures import read_picture

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PAD = "canvas.explorable-pad"
# A vertical stroke in dark ink on white paper, as a file that is dropped.
DROP = """async (pad) => {
  const paper = new OffscreenCanvas(60, 60);
  const context = paper.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, 60, 60);
  context.fillStyle = "#222";
  context.fillRect(27, 10, 6, 40);
  const blob = await paper.convertToBlob();
  const data = new DataTransfer();
  data.items.add(new File([blob], "one.png", { type: "image/png" }));
  pad.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def explorer() -> AttackExplorer:
    with initial_weights(0):
        model = fully_connected("FC-20-10")
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return AttackExplorer({"plain": model}, images, torch.arange(3), own=True, eps=0.0)


@pytest.fixture
def page_file(explorer: AttackExplorer, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def attacked(page: Page) -> str:
    data: str = page.get_by_role("img", name="The attacked image").evaluate(
        "canvas => canvas.toDataURL()"
    )
    return data


def draw_a_one(page: Page) -> None:
    """Draw from top to bottom, by mouse or finger alike."""
    pad = page.locator(PAD)
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    x, top, bottom = box["x"] + box["width"] / 2, box["y"] + 20, box["y"] + box["height"] - 20
    page.mouse.move(x, top)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x, top + step * (bottom - top) / 5)
    page.mouse.up()


def drawn(page: Page) -> torch.Tensor:
    """Return the picture that the address holds, once it is the one that is shown at ε 0.

    The address follows after a pause: before, it may hold a stroke that was still being drawn.
    """
    pixels = page.get_by_role("img", name="The attacked image").evaluate(
        """canvas => canvas.getContext("2d").getImageData(0, 0, 28, 28).data
          .filter((_, i) => i % 4 === 0).join()"""
    )
    shown = torch.tensor([int(pixel) for pixel in pixels.split(",")]).view(1, 28, 28) / 255
    for _ in range(100):
        found = re.search(r"attack\.drawing=(\w+)", page.evaluate("location.hash"))
        if found and torch.allclose(read_picture(found[1]), shown, atol=1 / 255):
            return read_picture(found[1])
        page.wait_for_timeout(100)
    raise AssertionError("the address never held the picture that is shown")


def test_a_stroke_becomes_a_digit_that_is_attacked(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        before = attacked(page)
        draw_a_one(page)
        said(page, "The plain network reads your drawing as")
        picture = drawn(page)[0]
        assert attacked(page) != before
        clean = attacked(page)
        page.get_by_label("strength ε").fill("10")
        page.wait_for_function(
            "before => document.querySelectorAll('canvas')[1].toDataURL() !== before", arg=clean
        )
    # Twenty pixels high, a few wide, in the middle.
    rows, columns = (picture.amax(axis) > 0.5 for axis in (1, 0))
    assert rows.sum() == 20
    assert 1 <= columns.sum() <= 4
    assert abs(columns.nonzero().float().mean() - 13.5) <= 1


def test_a_dropped_picture_is_turned_light_on_dark(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        page.locator(PAD).evaluate(DROP)
        said(page, "reads your drawing as")
        picture = drawn(page)[0]
    assert (picture.amax(1) > 0.5).sum() == 20
    assert (picture.amax(0) > 0.5).sum() == 3


def test_a_link_brings_the_drawing_back_and_wiping_ends_it(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        draw_a_one(page)
        first = said(page, "reads your drawing as")
        picture = attacked(page)
        drawn(page)
        address = page.evaluate("location.href")
    with visit(address) as page:
        assert said(page, "reads your drawing as") == first
        assert attacked(page) == picture
        page.get_by_role("button", name="Wipe the pad").click()
        said(page, "True class: 0")
        page.wait_for_function("!location.hash.includes('drawing')")


def test_an_address_without_its_drawing_shows_a_digit(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.as_uri()}#attack.image=3&attack.drawing=nonsense") as page:
        assert "True class: 2" in said(page, "True class")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pad_is_open_to_all_on_a_phone(visit: Visit, page_file: Path, scheme: str) -> None:
    with visit(page_file, **PHONE) as page:
        check_open_to_all(page, scheme)
        draw_a_one(page)
        said(page, "reads your drawing as")


def test_python_sees_the_drawing(explorer: AttackExplorer) -> None:
    explorer.drawing = "z" * 19 + "j" + "f" * 20 + "z" * 19  # 384 black, 20 white, 380 black
    explorer.image = 3
    assert explorer._chosen(explorer._setting())[0].sum() == 20
    assert "image 3" in repr(explorer)
    with pytest.raises(ValueError, match="no picture of 28"):
        explorer.drawing = "7"


def test_a_drawing_needs_digits_of_mnists_size() -> None:
    model = fully_connected("FC-10", in_features=64)
    images = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"goes with those of \(N, 1, 28, 28\)"):
        AttackExplorer(model, images, torch.zeros(1).long(), own=True)
    explorer = AttackExplorer(model, images, torch.zeros(1).long())
    with pytest.raises(traitlets.TraitError, match="needs an explorer with own=True"):
        explorer.drawing = "z"


def test_on_a_phone_the_picture_is_in_view_while_the_slider_moves(
    visit: Visit, page_file: Path
) -> None:
    page_file.write_text(page_file.read_text().replace("</body>", "<p>below</p>" * 99 + "</body>"))
    with visit(page_file, **PHONE) as page:
        page.get_by_role("img", name="The attacked image").scroll_into_view_if_needed()
        screen = page.viewport_size["height"]  # type: ignore[index]
        for shown in (
            page.get_by_role("img", name="The attacked image"),
            page.get_by_label("strength ε"),
        ):
            box = shown.bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= screen
