"""Long work runs in a worker, so that the page goes on; without one it runs in the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from pages import said, write_page
from playwright.sync_api import Page
from torch import Tensor, nn

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.noise import noisy_linear
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.widgets import AttackExplorer, PruningExplorer, RhoExplorer, SigmaExplorer

if TYPE_CHECKING:
    from browser import Visit

    from robustnb.widgets.static import StaticWidget

pytest_plugins = ["browser"]

WITHOUT = "globalThis.Worker = class { constructor() { throw new Error('not here'); } };"
FAILING = """globalThis.Worker = class {
  postMessage() { setTimeout(() => this.onerror?.(new Event("error"))); }
  terminate() {}
};"""


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    return torch.rand(12, 1, 28, 28, generator=seeded(0)), torch.arange(12) % 10


def explorer(kind: type[StaticWidget], digits: tuple[Tensor, Tensor]) -> StaticWidget:
    with initial_weights(0):
        if kind is SigmaExplorer:
            noisy = nn.Sequential(
                nn.Flatten(), noisy_linear(784, 20, at_inference=True), nn.Linear(20, 10)
            )
            return SigmaExplorer(noisy, *digits)
        model = fully_connected("FC-20-10", layer=BayesianLinear)
    if kind is RhoExplorer:
        return RhoExplorer({-3.0: model}, *digits)
    return kind(model, *digits)


@pytest.mark.parametrize("kind", [AttackExplorer, PruningExplorer, RhoExplorer, SigmaExplorer])
def test_a_worker_answers_as_the_page_does(
    visit: Visit, digits: tuple[Tensor, Tensor], tmp_path: Path, kind: type[StaticWidget]
) -> None:
    page_file = write_page(tmp_path, explorer(kind, digits))
    with visit(page_file) as page:
        there = settled(page)
        assert len(page.workers) == 1
        page.get_by_role("slider").first.press("End")
        moved = settled(page)
    for script in (WITHOUT, FAILING):
        with visit("about:blank") as page:
            page.add_init_script(script)
            page.goto(page_file.as_uri())
            assert settled(page) == there
            page.get_by_role("slider").first.press("End")
            assert settled(page) == moved


def settled(page: Page) -> tuple[str, list[str]]:
    """Return the line of text and the names of the pictures, once all is computed."""
    page.wait_for_selector(".explorable-picture", state="attached")
    text = said(page, " ")
    labels = page.locator(".explorable-picture [aria-label]")
    return text, labels.evaluate_all("nodes => nodes.map((node) => node.ariaLabel)")


def test_an_attack_leaves_the_page_its_time(
    visit: Visit, digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    """PGD on LeNet takes a tenth of a second, little of it on the page's own thread."""
    with initial_weights(0):
        first = [nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)]
        lenet = nn.Sequential(*first, nn.Flatten(), nn.Linear(800, 10))
    widget = AttackExplorer(lenet, *digits, attack="PGD", dtype="int8")
    spent = {}
    for place, script in (("worker", ""), ("page", WITHOUT)):
        with visit("about:blank") as page:
            page.add_init_script(script)
            page.goto(write_page(tmp_path, widget).as_uri())
            settled(page)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            before = script_seconds(session)
            for eps in range(11, 16):
                page.get_by_role("slider").fill(str(eps))
                said(page, f"ε 0.{eps} ")
            spent[place] = (script_seconds(session) - before) / 5
    assert spent["worker"] < spent["page"] / 3


def script_seconds(session: object) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]  # type: ignore[attr-defined]
    return {one["name"]: one["value"] for one in metrics}["ScriptDuration"]
