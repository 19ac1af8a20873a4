"""What the chapters on defences ask before they show it: the forms' answers, and their pages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
import torch
from test_measured_explorables import Explorable, opened, share, told
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.defenses.noise import GaussianNoise
from robustnb.papers.bayesian_weight_sampling import predictions as drawn_weights
from robustnb.papers.noise_optimization import predictions as learned_noise
from robustnb.papers.stochastic_lwta import predictions as drawn_winners
from robustnb.publishing.book import ROOT
from robustnb.publishing.notebook import read_notebook, tags
from robustnb.quantities import Quantity
from robustnb.results import read_rows
from robustnb.widgets import Prediction

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Visit
    from playwright.sync_api import Page

pytest_plugins = ["browser"]

FORMS = {"noise_optimization": 3, "stochastic_lwta": 5, "bayesian_weight_sampling": 5}
each_chapter = pytest.mark.parametrize("chapter", FORMS)


@each_chapter
def test_a_chapter_asks_in_forms_alone_and_hides_their_code(chapter: str) -> None:
    cells = read_notebook(ROOT / f"book/{chapter}.ipynb")["cells"]
    assert not any("Predict first" in "".join(cell["source"]) for cell in cells)
    forms = [cell for cell in cells if "Prediction(" in "".join(cell["source"])]
    assert len(forms) == FORMS[chapter]
    for cell in forms:
        assert "remove-input" in tags(cell)
        assert cell["metadata"]["jupyter"] == {"source_hidden": True}


# --- The answers, of networks whose answer is known


def test_the_harmful_multiple_is_the_first_at_which_five_in_a_hundred_are_lost() -> None:
    # The logits are 2 and 1; noise of σ on each turns them round with Φ(-1 / (σ √2)).
    for sigma, answer in (
        (1.0, "two to four"),
        (0.1, "eight to sixteen"),
        (0.01, "thirty or more"),
    ):
        noise = GaussianNoise(2)
        noise.sigma.data.fill_(sigma)
        model = nn.Sequential(nn.Flatten(), noise)
        images = torch.tensor([2.0, 1.0]).repeat(400, 1).view(400, 1, 1, 2)
        found = learned_noise.harmful_multiple(model, images, torch.zeros(400, dtype=torch.long))
        assert found["answer"] == answer
        lost = 0.5 * math.erfc(1 / (8 * sigma) / 2)
        said = float(re.search(r"([\d.]+)% at 8", found["told"])[1])  # type: ignore[index]
        assert said == pytest.approx(100 * (1 - lost), abs=2.5)


def test_winners_change_as_often_as_their_probabilities_say() -> None:
    values = torch.tensor([0.0, 1.0, 0.5, 0.2, -2.0, 3.0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), WinnerTakesAll(2))
    model[1].weight.data.zero_()
    model[1].bias.data = values
    q = torch.sigmoid(values[::2] - values[1::2])
    found = drawn_winners.changed_winners(model, torch.zeros(1, 1, 2, 3))
    assert found["answer"] == pytest.approx(100 * (2 * q * (1 - q)).mean().item(), abs=5)


@pytest.mark.parametrize(("temperature", "answer"), [(0.01, "nothing"), (0.67, "the right way")])
def test_a_slope_is_flat_where_the_closed_form_says(temperature: float, answer: str) -> None:
    found = drawn_winners.cold_slope(temperature)
    assert found["answer"] == f"{answer}, nearly everywhere"
    # m (1 - m) < c τ outside of where |v| < τ logit((1 + √(1 - 4 c τ)) / 2)
    root = math.sqrt(1 - 4e-3 * temperature)
    width = 2 * temperature * math.log((1 + root) / (1 - root))
    assert f"over {max(0, 1 - width / 6):.0%} of the range" in found["told"]


def bayesian(mu: float, rho: float) -> nn.Sequential:
    """Return a network of two logits for one pixel: mu times it and 0, the first with noise."""
    layer = BayesianLinear(1, 2, rho_init=rho)
    layer.mu.data.zero_()
    layer.mu.data[0, 0] = mu
    return nn.Sequential(nn.Flatten(), layer)


def test_draws_are_worth_something_where_they_differ() -> None:
    images, labels = torch.ones(50, 1, 1, 1), torch.zeros(50, dtype=torch.long)
    quiet, loud = bayesian(2.0, -30.0), bayesian(2.0, 1.0)
    for models, answer in (((quiet, loud), "at -2"), ((quiet, quiet), "at neither")):
        both = dict(zip((-30.0, -2.0), models, strict=True))
        assert drawn_weights.worth_of_draws(both, images, labels)["answer"] == answer


def test_weights_can_go_until_the_ones_that_count_do() -> None:
    # The largest of 20 ratios is that of the one weight that reads the image.
    layer = BayesianLinear(9, 2, rho_init=-8.0)
    layer.mu.data.zero_()
    layer.mu.data[0, :9] = torch.tensor([5.0, *[1e-3] * 8])
    images = torch.zeros(20, 1, 3, 3)
    images[..., 0, 0] = 1
    found = drawn_weights.prunable(
        nn.Sequential(nn.Flatten(), layer), images, torch.zeros(20, dtype=torch.long)
    )
    assert found["answer"] == "more than two thirds"


@pytest.mark.parametrize(
    ("plain", "noisy", "answer"),
    [(0.1, 0.3, "the plain network"), (0.3, 0.1, "the Bayesian network"),
     (0.2, 0.2, "neither before the other"), (9.0, 9.0, "neither before the other")],
)  # fmt: skip
def test_who_is_wrong_first_holds_less_long(plain: float, noisy: float, answer: str) -> None:
    def belief(eps: float, limit: float) -> torch.Tensor:
        return torch.tensor([0.9, 0.1] if eps < limit else [0.1, 0.9])

    beliefs = {eps: {"a": belief(eps, plain), "b": belief(eps, noisy)} for eps in (0.1, 0.2, 0.3)}
    found = drawn_weights.longer_in_hold(beliefs, 0)
    assert found["answer"] == answer
    Prediction(**found)


@pytest.mark.parametrize(
    ("shares", "answer"),
    [((1.0, 0.2), "the plain network"), ((0.2, 1.0), "the Bayesian network"),
     ((0.0, 0.05), "neither of them")],
)  # fmt: skip
def test_the_brighter_rim_is_found(shares: tuple[float, float], answer: str) -> None:
    black = torch.tensor([[True, False, False]])
    maps = {f"{k}": torch.tensor([[[light, 1.0, 1.0]]] * 2) for k, light in enumerate(shares)}
    assert drawn_weights.lit_rim(maps, black)["answer"] == answer


def test_the_highest_of_three_is_found() -> None:
    def found(one: float, means: float, plain: float) -> Any:
        controls = {"mean weights": Quantity({0: means}), "plain, both": Quantity({0: plain})}
        return drawn_weights.highest({"bayesian rho_init=-3": Quantity({0: one})}, controls)

    assert found(3, 2, 1)["answer"] == "the Bayesian network, one draw"
    assert found(1, 2, 1)["answer"] == "its mean weights, without noise"
    assert found(1, 2, 3)["answer"] == "the best plain control"


# --- The pages


def forms_of(page: Page) -> list[dict[str, Any]]:
    """Open what came out of each form, and return the choices, the answer and what is told."""
    found = []
    for form in page.locator(".prediction").all():
        form.locator("summary").click()
        form.locator("details p strong").first.wait_for()
        found.append(
            {
                "choices": [
                    text.strip() for text in form.locator("fieldset label").all_inner_texts()
                ],
                "answer": form.locator("details p strong").first.inner_text(),
                "told": " ".join(form.locator("details p").all_inner_texts()),
            }
        )
    return found


def cells(paper: str, table: str, profile: str) -> Mapping[tuple[str, str], float]:
    return {
        (row["row"], row["column"]): row["value"]
        for row in read_rows(paper)
        if (row["table"], row["profile"]) == (table, profile)
    }


@each_chapter
def test_each_answer_is_among_its_choices(visit: Visit, built_book: Path, chapter: str) -> None:
    with opened(visit, built_book, chapter) as page:
        forms = forms_of(page)
    assert len(forms) == FORMS[chapter]
    for form in forms:
        if form["choices"] == ["Your number"]:
            assert 0 < float(form["answer"]) < 100
        else:
            assert form["answer"] in form["choices"]


def test_the_chapter_on_learned_noise_answers_what_it_shows(visit: Visit, built_book: Path) -> None:
    levels = cells("noise-optimization", "sigma", "paper")
    first = {
        name: min((1, 2, 3), key=lambda k: levels[f"{name}, layer {k}", "epoch 1"])
        for name in ("MLPN ReLU", "MLPN Sigmoid")
    }
    with opened(visit, built_book, "noise_optimization") as page:
        layer, multiple, noise = forms_of(page)
        learned = Explorable(page, "learned")
        read = {times: share(learned.slide("noise", f"× {times}")) for times in (0, 4, 16, 64)}
    same = len(set(first.values())) == 1
    assert (layer["answer"] == "not the same in both") != same
    assert all(f"in layer {k} of {name}" in layer["told"] for name, k in first.items())
    lost = {times for times in (4, 16, 64) if read[times] <= read[0] - 5}
    assert multiple["answer"] == (
        "two to four" if 4 in lost else "eight to sixteen" if 16 in lost else "thirty or more"
    )
    beliefs = {k: float(v) for v, k in re.findall(r"(\d+)% at (\d+)", noise["told"])}
    up = max(beliefs["4"], beliefs["16"], beliefs["64"]) > beliefs["1"] + 10
    off = beliefs["0"] > beliefs["1"] + 10
    assert noise["answer"] == (
        "both" if up and off else "turning it up" if up else "turning it off" if off else "neither"
    )


def test_the_chapter_on_drawn_winners_answers_what_its_rows_say(
    visit: Visit, built_book: Path
) -> None:
    steps, attacks, proofs = (
        cells("stochastic-lwta", table, "laptop")
        for table in ("steps", "attacks on LWTA", "certificate")
    )
    with opened(visit, built_book, "stochastic_lwta") as page:
        _, slope, caught, averaged, proved = forms_of(page)
    lwta = "Stochastic LWTA"
    assert slope["answer"].startswith("nothing")
    left = {n: steps[f"PGD, {n} steps", lwta] for n in (3, 10, 30)}
    enough = [f"{n}" for n, value in left.items() if value <= steps["FGSM", lwta]]
    assert caught["answer"] == [*enough, "more than 30"][0]
    one, many = attacks["PGD, EOT=1", lwta], attacks["PGD, EOT=50", lwta]
    part = (one - many) / (one - attacks["worst case", lwta])
    assert (averaged["answer"] == "a part of it") == (0.1 <= part <= 0.9)
    gaps = [
        value - proofs[radius, "Regular training"]
        for (radius, name), value in proofs.items()
        if name == "Smoothing"
    ]
    assert (proved["answer"] == "Smoothing") == (min(gaps) >= 0)


def test_the_chapter_on_drawn_weights_answers_what_it_shows(visit: Visit, built_book: Path) -> None:
    paper, over = "bayesian-weight-sampling", "average over 12 sets"
    controls = cells(paper, "controls", "paper")
    three = {
        "the Bayesian network, one draw": cells(paper, "2", "paper")[
            "average", "bayesian rho_init=-3"
        ],
        "its mean weights, without noise": controls["mean weights", over],
        "the best plain control": max(
            value for (name, column), value in controls.items()
            if name.startswith("plain") and column == over
        ),
    }  # fmt: skip
    with opened(visit, built_book, "bayesian_weight_sampling") as page:
        draws, longer, pruned, highest, _ = forms_of(page)
        rho = Explorable(page, "rho")
        gains = {}
        for value in ("−30", "−2"):
            rho.slide("rho_init", value)
            gains[value] = share(rho.slide("draws", "100")) - share(rho.slide("draws", "1"))
        eps = Explorable(page, "eps")
        wrong = {name: "never" for name in ("plain", "draws")}
        for step in range(12, -1, -1):
            line = eps.slide("strength, eps", value := f"{step / 50:.2f}")
            truth = re.search(r"true class is (\w+)", line)
            wrong |= {name: value for name in wrong if told(line, name) != truth[1]}  # type: ignore[index]
        pruning = Explorable(page, "pruning")
        left = {rate: share(pruning.slide("removed", rate)) for rate in ("0%", "30%", "65%")}
    assert gains["−30"] == 0
    assert (draws["answer"] == "at -2") == (gains["−2"] >= 1)
    assert (longer["answer"] == "the plain network") == (wrong["plain"] < wrong["draws"])
    assert all(f"from eps {found} on" in longer["told"] for found in wrong.values())
    assert (pruned["answer"] == "more than two thirds") == (left["65%"] > left["0%"] - 5)
    assert highest["answer"] == max(three, key=lambda name: three[name])
    assert all(f"{value:.2f}%" in highest["told"] for value in three.values())
