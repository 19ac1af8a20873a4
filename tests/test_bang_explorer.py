"""The explorable of balanced gradients in Python, and its page in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import traitlets
from pages import LINE, PHONE, add_functions, check_open_to_all, write_page
from playwright.sync_api import Page, expect
from torch import Tensor

from robustnb.data import load
from robustnb.defenses.bang import balancing, gradient_norms
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit
from robustnb.widgets.bang import BangExplorer
from robustnb.widgets.static import HERE

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

FLOOR, HEIGHT = 112.0, 104.0  # of a chart, in the units of its SVG


@pytest.fixture(scope="module")
def norms() -> dict[str, Tensor]:
    """Train a small network on the digits, and measure the gradients of a batch."""
    data = load("digits")
    with initial_weights(0):
        model = fully_connected("FC-30-20-10")
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    splits = data.split("train"), data.split("validation")
    fit(model, *splits, optimizer=optimizer, epochs=5, generator=seeded(0), progress=False)
    images, labels = data.split("train")
    return gradient_norms(model, images[:64], labels[:64])


@pytest.fixture
def explorer(norms: dict[str, Tensor]) -> BangExplorer:
    return BangExplorer(norms)


@pytest.fixture
def page_file(explorer: BangExplorer, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def drawn(page: Page) -> list[list[str]]:
    """Return the paths of the old and the new series of each chart."""
    page.locator(LINE, has_text="Layer").wait_for()
    return [
        page.locator(f".explorable-panel path.{name}").evaluate_all(
            "paths => paths.map((path) => path.getAttribute('d'))"
        )
        for name in ("old", "new")
    ]


def heights(path: str) -> Tensor:
    """Return how high each point of a path lies in its chart, 0 at the bottom and 1 at the top."""
    ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    return (FLOOR - torch.tensor(ys)) / HEIGHT


@pytest.mark.parametrize("eps", [0.0, 0.3, 0.815, 1.0])
def test_factors_in_the_page_are_those_of_python(
    visit: Visit, norms: dict[str, Tensor], eps: float
) -> None:
    with visit("about:blank") as page:
        add_functions(page, HERE / "bang.js")
        for given in [*norms.values(), torch.tensor([0.0, 1e-20, 1.0, 1e25])]:
            arguments = [given.double().tolist(), eps]
            found = page.evaluate("([norms, eps]) => balancing(norms, eps)", arguments)
            expected = balancing(given.double(), eps)
            torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)


def test_what_is_drawn_is_the_update_of_equation_6(
    visit: Visit, explorer: BangExplorer, norms: dict[str, Tensor], tmp_path: Path
) -> None:
    explorer.layer, explorer.eps, explorer.beta = "4", 0.6, 1.0
    before = norms["4"].double().sort(descending=True).values
    after = balancing(before, 0.6) * before
    with visit(write_page(tmp_path, explorer)) as page:
        (_, _, old_sum), (_, _, new_sum) = drawn(page)
        text = page.locator(LINE).text_content() or ""
    for path, lengths in ((old_sum, before), (new_sum, after)):
        shares = lengths.cumsum(0) / lengths.sum()
        assert (heights(path) - shares.float()).abs().max() < 1e-3
    tenth = after.sort(descending=True).values[:6].sum() / after.sum()
    plain = before[:6].sum() / before.sum()
    assert f"the 6 largest of 64 gradients make up {tenth:.0%} " in text
    assert f", {plain:.0%} in plain training." in text
    (factor,) = re.findall(r"largest factor is ([\d.,]+)\.$", text)
    largest = balancing(before, 0.6).max().item()
    assert float(factor.replace(",", "")) == pytest.approx(largest, rel=0.01)


def test_lengths_are_drawn_on_one_logarithmic_scale(visit: Visit, page_file: Path, norms) -> None:
    before = norms["2"].double().sort(descending=True).values
    after = balancing(before, 0.815) * before
    with visit(page_file) as page:
        (old, *_), (new, *_) = drawn(page)
    logs = torch.cat([before, after]).log10()
    found = torch.cat([heights(old), heights(new)]).double()
    inside = (found > 0.001) & (found < 0.999)
    slope = (found[inside].max() - found[inside].min()) / (logs[inside].max() - logs[inside].min())
    expected = found[0] + slope * (logs - logs[0])
    assert (found - expected)[inside].abs().max() < 2e-3


def test_every_control_changes_picture_and_line(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        for act in (
            lambda: page.get_by_role("slider", name="ε").press("ArrowRight"),
            lambda: page.get_by_role("slider", name="β").press("End"),
            lambda: page.get_by_role("radio", name="6").check(),
        ):
            before, text = drawn(page), page.locator(LINE).text_content() or ""
            act()
            expect(page.locator(LINE)).not_to_have_text(text)
            assert drawn(page) != before


def test_without_eps_both_are_alike(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.resolve().as_uri()}#bang.eps=0") as page:
        old, new = drawn(page)
        assert old[0] == new[0]
        assert old[2] == new[2]
        expect(page.locator(LINE)).to_contain_text("The largest factor is 1.")


def test_without_beta_nothing_is_learned(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        drawn(page)
        page.get_by_role("slider", name="β").press("Home")
        expect(page.locator(LINE)).to_contain_text("no example has any part in the update")


def test_an_address_restores_all_of_it(visit: Visit, page_file: Path) -> None:
    address = f"{page_file.resolve().as_uri()}#bang.layer=4&bang.eps=0.4&bang.beta=1.5"
    with visit(address) as page:
        drawn(page)
        expect(page.locator(LINE)).to_contain_text("Layer 4 at ε 0.4 and β 1.5:")
        expect(page.get_by_role("radio", name="4")).to_be_checked()


def test_it_fits_a_phone_and_is_open_to_all(visit: Visit, page_file: Path) -> None:
    with visit(page_file, **PHONE) as page:
        drawn(page)
        check_open_to_all(page)


def test_without_javascript_there_is_a_picture(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        picture = page.get_by_role("img", name=re.compile("The 6 largest of 64 gradients make up"))
        assert (picture.bounding_box() or {"width": 0})["width"] > 200
        expect(page.locator("p").first).to_contain_text("Layer 2 at ε = 0.815 and β = 1.")


@pytest.mark.parametrize(("trait", "value"), [("eps", -0.1), ("beta", 3.0), ("layer", "conv9")])
def test_what_cannot_be_is_refused(explorer: BangExplorer, trait: str, value: object) -> None:
    with pytest.raises((traitlets.TraitError, ValueError), match=f"{trait} is {value!r}: it must"):
        setattr(explorer, trait, value)


@pytest.mark.parametrize(
    ("norms", "named"),
    [
        ({}, "there are no norms"),
        ({"fc": torch.ones(3, 2)}, r"norms of fc have shape \(3, 2\)"),
        ({"fc": torch.tensor([1.0, -1.0])}, "at least 0"),
        ({"fc": torch.zeros(3)}, "all 0"),
    ],
)
def test_norms_that_are_none_are_named(norms: dict[str, Tensor], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        BangExplorer(norms)
