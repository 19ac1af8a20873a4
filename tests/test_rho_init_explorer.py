"""The explorable of weight draws in Python, and its page in a real browser."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import traitlets
from pages import PHONE, check_open_to_all
from playwright.sync_api import Page, expect
from scipy import stats
from torch import Tensor, nn

from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear, bayesian_layers, mean_network
from robustnb.models import fully_connected, predict
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit
from robustnb.widgets.network import round_trip, rounded
from robustnb.widgets.pictures import drawn_probabilities
from robustnb.widgets.rho_init import RhoExplorer

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

LINE = ".explorable [aria-live=polite]"
RHOS = (-9, -2.5, -1)
TRAITS = ("rho_init", "num_samples", "image", "seed")


@pytest.fixture(scope="module")
def models() -> dict[float, nn.Module]:
    """Train one small network on its means, and give copies of it different sigmas."""
    data = load("digits")
    with initial_weights(0):
        model = fully_connected("FC-20-10", layer=partial(BayesianLinear, rho_init=-9.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    splits = data.split("train"), data.split("validation")
    fit(model, *splits, optimizer=optimizer, epochs=4, generator=seeded(0), progress=False)
    models = {}
    for rho in reversed(RHOS):
        models[rho] = rounded(model, "float32")
        for layer in bayesian_layers(models[rho]):
            layer.rho.data.fill_(rho)
    return models


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load("digits").split("test")
    return images[:60].clone(), labels[:60].clone()


@pytest.fixture(scope="module")
def explorer(models: dict[float, nn.Module], digits: tuple[Tensor, Tensor]) -> RhoExplorer:
    return RhoExplorer(models, *digits, rho_init=-2.5)


@pytest.fixture(scope="module")
def page_file(explorer: RhoExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("rho") / "page.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page.write_text(f"<!doctype html><head>{head}</head>{explorer.static_html()}")
    return page


def bars(page: Page) -> Tensor:
    """Return the probabilities shown, as high as the bars are."""
    heights = page.locator("rect.bar").evaluate_all(
        "all => all.map(bar => bar.height.baseVal.value)"
    )
    return torch.tensor(heights) / 104


def test_accuracy_is_that_of_the_means_where_noise_is_small(
    explorer: RhoExplorer, models: dict[float, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = digits
    means = predict(mean_network(rounded(models[-9])), round_trip(images, "uint8"))
    expected = (means.argmax(1) == labels).double().mean().item()
    assert explorer.accuracies[0] == pytest.approx([expected] * len(explorer.sample_choices))


def test_accuracy_is_that_of_single_passes(
    models: dict[float, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = digits
    explorer = RhoExplorer({-1: models[-1]}, images, labels, sample_choices=(1, 4), num_samples=4)
    noisy, stored = rounded(models[-1]), round_trip(images, "uint8")
    for layer in bayesian_layers(noisy):
        layer.generator = seeded(0)
        generator = layer.generator
    for layer in bayesian_layers(noisy):
        layer.generator = generator
    passes = torch.stack([predict(noisy, stored).softmax(1) for _ in range(4)])
    for count, share in zip((1, 4), explorer.accuracies[0], strict=True):
        right = passes[:count].mean(0).argmax(1) == labels
        assert share == pytest.approx(right.double().mean().item())


def test_the_page_says_what_the_means_say_without_noise(
    visit: Visit, page_file: Path, models: dict[float, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images = round_trip(digits[0], "uint8")
    expected = predict(mean_network(rounded(models[-9])), images[2:3]).softmax(1)[0]
    with visit(f"{page_file.as_uri()}#rho.rho_init=-9&rho.image=2&rho.num_samples=1") as page:
        # softplus(-9) is 0.0001, which moves the probabilities by less than 0.01.
        assert bars(page).sub(expected).abs().max() < 0.01


def test_draws_of_the_page_have_the_distribution_of_those_of_torch(
    visit: Visit, page_file: Path, models: dict[float, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    image = round_trip(digits[0], "uint8")[0]
    expected = drawn_probabilities(rounded(models[-1]), image, 2000, 1)
    with visit(f"{page_file.as_uri()}#rho.rho_init=-1&rho.num_samples=100&rho.seed=3") as page:
        path = page.locator("path.dots").get_attribute("d") or ""
    heights = [float(y) for y in re.findall(r"M\S+ (\S+?)h0", path)]
    found = 1 - (torch.tensor(heights).view(100, 10) - 8) / 104
    for label in range(10):
        # The page writes a height to a tenth of a pixel: as coarsely, both are compared.
        one, other = (
            probabilities[:, label].mul(100).round() for probabilities in (found, expected)
        )
        assert stats.ks_2samp(one, other).pvalue > 1e-4


def test_the_controls_move_the_draws_and_the_line(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        line = page.locator(LINE)
        expect(line).to_have_text(re.compile("^At rho_init −2.5 the mean of 10 draws says "))
        expect(line).to_have_text(re.compile(r"Such means are right on \d+% of 60 images\.$"))
        before = bars(page)
        page.get_by_role("button", name="New draws").click()
        page.wait_for_url("**rho.seed=1")
        assert not bars(page).equal(before)
        page.get_by_role("slider", name="draws").press("Home")
        expect(line).to_have_text(re.compile("^At rho_init −2.5 the mean of 1 draw says "))
        expect(page.get_by_role("button", name="Watch the draws")).to_have_count(0)
        page.get_by_role("slider", name="rho_init").press("End")
        expect(line).to_have_text(re.compile("^At rho_init −1 "))


def test_a_reload_brings_the_same_draws(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        page.get_by_role("button", name="New draws").click()
        page.get_by_role("slider", name="draws").press("End")
        page.wait_for_url("**rho.num_samples=100&rho.image=0&rho.seed=1")
        before = page.locator("path.dots").get_attribute("d") or ""
        page.reload()
        expect(page.locator("path.dots")).to_have_attribute("d", before)


def test_watching_shows_draw_after_draw(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        line, dots = page.locator(LINE).text_content(), page.locator("path.dots")
        whole = dots.get_attribute("d") or ""
        page.evaluate("""() => {
          window.seen = [];
          const heading = document.querySelector(".explorable-title");
          const note = () => window.seen.push([
            heading.textContent,
            document.querySelector("[aria-live=polite]").textContent,
            document.querySelectorAll("rect.outline").length,
          ]);
          new MutationObserver(note).observe(heading, { childList: true });
        }""")
        page.get_by_role("button", name="Watch the draws").click()
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        expect(page.get_by_role("button", name="Watch the draws")).to_be_visible()
        # The line is not read out for every draw.
        draws = [[f"Draw {number} of 10: outline", line, 10] for number in range(1, 10)]
        assert page.evaluate("seen") == [*draws, ["Bars: mean; dots: single draws", line, 0]]
        expect(dots).to_have_attribute("d", whole)


def test_watching_can_be_stopped(visit: Visit, page_file: Path) -> None:
    with visit(f"{page_file.as_uri()}#rho.num_samples=100") as page:
        whole = page.locator("path.dots").get_attribute("d") or ""
        page.get_by_role("button", name="Watch the draws").click()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("path.dots")).to_have_attribute("d", whole)


def test_nothing_moves_by_itself_for_those_who_prefer_it(visit: Visit, page_file: Path) -> None:
    with visit(page_file, reduced_motion="reduce") as page:
        for number in (1, 2):
            page.get_by_role("button", name="Next draw").click()
            expect(page.get_by_text(f"Draw {number} of 10: outline")).to_be_visible()
        page.wait_for_timeout(400)  # longer than a draw is shown
        expect(page.get_by_text("Draw 2 of 10: outline")).to_be_visible()


@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 900}}, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    visit: Visit, page_file: Path, options: dict[str, Any], scheme: str
) -> None:
    with visit(page_file, **options) as page:
        check_open_to_all(page, scheme)


def test_without_javascript_there_is_a_picture(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        expect(page.get_by_role("img")).to_have_attribute(
            "alt", re.compile(r"^The true class is \d\. The mean of 10 draws says \d")
        )
        expect(page.locator("p").first).to_contain_text("Image 1 at rho_init -2.5.")


def test_python_sets_and_sees_the_state(explorer: RhoExplorer) -> None:
    seen: list[Any] = []
    explorer.observe(lambda change: seen.append(change["new"]), list(TRAITS))
    explorer.set_state({"rho_init": -1.0, "num_samples": 5, "image": 2, "seed": 7})
    assert sorted(seen) == [-1.0, 2, 5, 7]
    explorer.unobserve_all()
    explorer.set_state({"rho_init": -2.5, "num_samples": 10, "image": 0, "seed": 0})


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("rho_init", -3.0, "rho_init is -3.0: it must be one of -9.0, -2.5, -1.0."),
        ("num_samples", 4, "num_samples is 4: it must be one of 1, 2, 3, 5, 10, 20, 50, 100."),
        ("image", 8, "image is 8: it must be from 0 to 7."),
        ("seed", -1, r"seed is -1: it must be from 0 to "),
    ],
)
def test_a_state_out_of_range_is_refused(
    explorer: RhoExplorer, trait: str, value: float, message: str
) -> None:
    with pytest.raises(traitlets.TraitError, match=f"^{message}"):
        setattr(explorer, trait, value)


def test_bad_models_get_one_sentence(digits: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="models is empty: RhoExplorer takes"):
        RhoExplorer({}, *digits)
    plain = fully_connected("FC-20-10")
    with pytest.raises(ValueError, match="the network of rho_init -3 has no"):
        RhoExplorer({-3: plain}, *digits)
