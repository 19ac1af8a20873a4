"""What the chapters say of their playgrounds happens, whatever the seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from pages import add_functions
from playwright.sync_api import Browser, Page

from robustnb.publishing.book import ROOT
from robustnb.publishing.notebook import read_notebook
from robustnb.widgets import Playground
from robustnb.widgets.static import HERE

pytest_plugins = ["browser"]

SEEDS = (0, 1, 2, 3)
STEPS = 300

# Trains as the page does, but measures at the last two records alone: nothing else counts.
OUTCOMES = """([defences, settings, step]) => {
  const session = startSession(defences, settings);
  for (; session.step < step - RECORD_EVERY; session.step++) {
    const { x, labels } = session.batches.next().value;
    for (const { train } of session.sides) train(x, labels);
  }
  for (const _ of trainTo(session, step));
  for (const side of session.sides) for (const _ of shadeSteps(session, side, pixelCentres(40)));
  return session.sides.map((side) => ({
    clean: side.measured.clean,
    robust: side.measured.robust,
    loss: side.records.at(-1).loss,
    unsure: side.shaded.unsure,
    sigma: noiseLevel(side),
  }));
}"""


class Outcome(NamedTuple):
    """Hold what a network has come to: shares of points, balls and plane, its loss, its noise."""

    clean: float
    robust: float
    loss: float
    unsure: float
    sigma: float | None


@pytest.fixture(scope="module")
def train(chromium: Browser) -> Iterator[Any]:
    """Return `train(chapter, seed, *defences)`, which trains in a chapter's playground.

    Networks are trained with the given defences from the left on, or with those that it shows.
    """
    page: Page = chromium.new_page()
    page.goto("about:blank")
    add_functions(page, HERE / "session.js")

    def training(chapter: str, seed: int, *defences: str) -> list[Outcome]:
        shown = preset(chapter)
        names = ("points", "own", "norm", "eps")
        settings = {**shown.settings, **{name: getattr(shown, name) for name in names}}
        trained = defences or (shown.left, shown.right)
        found = page.evaluate(OUTCOMES, [trained, {**settings, "seed": seed}, STEPS])
        return [Outcome(**each) for each in found]

    yield training
    page.close()


def preset(chapter: str) -> Playground:
    """Return the playground of a chapter, made by the chapter's own line."""
    cells = read_notebook(ROOT / "book" / f"{chapter}.ipynb")["cells"]
    lines = "".join("".join(cell["source"]) + "\n" for cell in cells).splitlines()
    (line,) = (line for line in lines if line.removeprefix("widgets.").startswith("Playground("))
    made: Playground = eval(line.removeprefix("widgets."), {"Playground": Playground})
    return made


every_seed = pytest.mark.parametrize("seed", SEEDS)


@every_seed
def test_adversarial_training_keeps_more_balls_whole(train: Any, seed: int) -> None:
    plain, adversarial = train("adversarial_examples", seed)
    assert plain.clean >= 0.98
    assert plain.robust <= 0.75
    assert adversarial.robust >= plain.robust + 0.08
    assert 0.85 <= adversarial.clean <= plain.clean


@every_seed
def test_bang_is_surer_but_keeps_few_more_balls(train: Any, seed: int) -> None:
    plain, balanced = train("bang", seed)
    (adversarial,) = train("bang", seed, "PGD training")
    assert balanced.loss < plain.loss
    assert balanced.unsure < 0.8 * plain.unsure
    assert abs(balanced.robust - plain.robust) <= 0.1
    assert adversarial.robust >= balanced.robust + 0.05


@every_seed
def test_learned_noise_shrinks_and_keeps_fewer_balls(train: Any, seed: int) -> None:
    fixed, learned = train("noise_optimization", seed)
    (plain,) = train("noise_optimization", seed, "plain")
    assert fixed.sigma is None
    assert 0.15 < learned.sigma < 0.35
    assert learned.loss < fixed.loss / 3
    assert learned.robust < fixed.robust
    assert abs(learned.robust - plain.robust) <= 0.12


@every_seed
def test_gaussian_weights_are_unsure_and_keep_more_balls(train: Any, seed: int) -> None:
    plain, bayesian = train("bayesian_weight_sampling", seed)
    (adversarial,) = train("bayesian_weight_sampling", seed, "PGD training")
    assert bayesian.unsure > 2 * plain.unsure
    assert bayesian.robust > plain.robust
    assert adversarial.robust > bayesian.robust


@every_seed
def test_the_lottery_is_unsure_and_keeps_fewer_balls_than_attacks(train: Any, seed: int) -> None:
    plain, lottery = train("stochastic_lwta", seed)
    (adversarial,) = train("stochastic_lwta", seed, "PGD training")
    assert lottery.unsure > 1.3 * plain.unsure
    assert lottery.robust >= plain.robust - 0.05
    assert adversarial.robust > lottery.robust
