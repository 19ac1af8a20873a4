"""The networks of an explorable can be exchanged for those of the page; settings stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import traitlets
from pages import said, write_page
from playwright.sync_api import expect
from torch import Tensor

from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.widgets import AttackExplorer

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]


@pytest.fixture
def digits() -> tuple[Tensor, Tensor]:
    return torch.rand(3, 1, 8, 8, generator=seeded(0)), torch.arange(3)


def explorer(digits: tuple[Tensor, Tensor], seed: int, name: str = "plain") -> AttackExplorer:
    with initial_weights(seed):
        model = fully_connected("FC-10", in_features=64)
    return AttackExplorer({name: model}, *digits)


def answers(of: AttackExplorer, eps: float) -> str:
    """Return what the line says of the second image."""
    (shares,) = of.answers(eps=eps, image=1).values()
    return f"says {shares.argmax()} ({shares.max():.0%})"


def test_the_other_networks_answer_at_the_same_setting(
    visit: Visit, digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    table, page_s = explorer(digits, 0), explorer(digits, 1)
    page_file = write_page(tmp_path, explorer(digits, 0).or_of_this_page(page_s))
    with visit(page_file) as page:
        page.get_by_role("radio", name="image 2: 1").check()
        page.get_by_role("slider").press("End")
        assert answers(table, 0.3) in said(page, "At ε 0.3 ").replace("still ", "")
        page.get_by_role("radio", name="of this page").check()
        expect(page.get_by_role("radio", name="of this page")).to_be_focused()
        assert answers(page_s, 0.3) in said(page, "At ε 0.3 ").replace("still ", "")
        page.wait_for_function("location.hash.includes('attack.trained=page')")
        address = page.evaluate("location.href")
    assert answers(table, 0.3) != answers(page_s, 0.3)
    with visit(address) as page:
        expect(page.get_by_role("radio", name="of this page")).to_be_checked()
        assert answers(page_s, 0.3) in said(page, "At ε 0.3 ").replace("still ", "")


def test_one_set_of_networks_needs_no_choice(
    visit: Visit, digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    alone = explorer(digits, 0)
    with visit(write_page(tmp_path, alone)) as page:
        expect(page.get_by_role("radio", name="of this page")).to_have_count(0)
    with pytest.raises(traitlets.TraitError, match="trained is 'page': it must be one of table"):
        alone.trained = "page"


def test_what_is_exchanged_shows_the_same(digits: tuple[Tensor, Tensor]) -> None:
    others = (digits[0].flip(0), digits[1])
    for other in (explorer(digits, 1, name="other"), explorer(others, 1)):
        with pytest.raises(ValueError, match="the two explorables differ"):
            explorer(digits, 0).or_of_this_page(other)
