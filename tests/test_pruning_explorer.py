"""The explorable of pruning in Python, and its page in a real browser."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from pages import PHONE, add_functions, check_open_to_all
from playwright.sync_api import Page, expect
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear, bayesian_layers, mean_network
from robustnb.models import fully_connected, predict
from robustnb.pruning import prune, signal_to_noise
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit
from robustnb.widgets.network import describe, round_trip, rounded
from robustnb.widgets.pruning import PruningExplorer
from robustnb.widgets.static import HERE

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

LINE = ".explorable [aria-live=polite]"
# Every draw is one standard deviation above the mean, so that torch can be given the same.
PRUNED = """([{ network: description, blobs }, image, rate]) => {
  const weights = readWeights(description, blobs);
  const network = loadNetwork(description, blobs);
  const explorer = { network, description, weights, order: removalOrder(weights) };
  const pruned = prunedNetwork(explorer, rate);
  const answers = [null, { normal: () => 1 }].map((random) =>
    Array.from(forward(pruned, Float32Array.from(image), random).logits));
  return [...answers, numRemoved(rate, weights)];
}"""


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Train a small Bayesian network on the digits."""
    data = load("digits")
    with initial_weights(0):
        model = fully_connected("FC-20-20-10", layer=partial(BayesianLinear, rho_init=-4.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    splits = data.split("train"), data.split("validation")
    fit(model, *splits, optimizer=optimizer, epochs=4, generator=seeded(0), progress=False)
    return model


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load("digits").split("test")
    return images[:60].clone(), labels[:60].clone()


@pytest.fixture(scope="module")
def explorer(model: nn.Module, digits: tuple[Tensor, Tensor]) -> PruningExplorer:
    return PruningExplorer(model, *digits)


@pytest.fixture(scope="module")
def page_file(explorer: PruningExplorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("pruning") / "page.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page.write_text(f"<!doctype html><head>{head}</head>{explorer.static_html()}")
    return page


@pytest.fixture(scope="module")
def blank(chromium: Any) -> Page:
    """Open a page that has the functions of the module."""
    page: Page = chromium.new_page()
    add_functions(page, HERE / PruningExplorer._module)
    return page


def one_sigma_above(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits if every output is its mean plus its standard deviation."""
    for layer in model:  # type: ignore[attr-defined]
        if isinstance(layer, BayesianLinear):
            extended = F.pad(images, (0, 1), value=1.0)
            variance = extended.square() @ layer.sigma.square().T
            images = extended @ layer.mu.T + variance.sqrt()
        else:
            images = layer(images)
    return images


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("rate", [0, 0.05, 0.5, 0.75, 0.98, 1])
def test_the_pruned_network_is_that_of_torch(
    blank: Page, model: nn.Module, digits: tuple[Tensor, Tensor], rate: float, dtype: Any
) -> None:
    image = round_trip(digits[0], "uint8")[:1]
    network, blobs = describe(model, (1, 28, 28), dtype)
    # Double precision orders the ratios as the page does.
    pruned = prune(rounded(model, dtype).double(), rate).float()
    arguments = [{"network": network, "blobs": blobs}, image.flatten().tolist(), rate]
    mean, above, removed = blank.evaluate(PRUNED, arguments)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.tensor([mean], dtype=torch.float), mean_network(pruned)(image), rtol=0, atol=1e-4
        )
        torch.testing.assert_close(
            torch.tensor([above], dtype=torch.float),
            one_sigma_above(pruned, image),
            rtol=0,
            atol=1e-4,
        )
    silent = sum(int((layer.sigma == 0).sum()) for layer in bayesian_layers(pruned))
    assert removed == silent


@given(st.integers(0, 4000).map(lambda number: number / 2))
def test_halves_are_rounded_as_in_python(blank: Page, value: float) -> None:
    assert blank.evaluate("roundedHalfEven", value) == round(value)


def shown_accuracy(page: Page) -> float:
    match = re.search(r"right on (\d+)% of 60 images", page.locator(LINE).text_content() or "")
    assert match is not None
    return int(match[1]) / 100


@pytest.mark.parametrize("rate", [0, 0.5, 0.9])
def test_the_page_counts_what_torch_counts(
    visit: Visit, page_file: Path, model: nn.Module, digits: tuple[Tensor, Tensor], rate: float
) -> None:
    images, labels = round_trip(digits[0], "uint8"), digits[1]
    answers = predict(mean_network(prune(rounded(model), rate)), images)
    expected = (answers.argmax(1) == labels).double().mean().item()
    with visit(f"{page_file.as_uri()}#pruning.rate={rate}") as page:
        assert shown_accuracy(page) == pytest.approx(expected, abs=0.006)


def test_the_controls_move_the_cut_and_the_line(
    visit: Visit, page_file: Path, model: nn.Module
) -> None:
    total = signal_to_noise(model).numel()
    with visit(page_file) as page:
        line = page.locator(LINE)
        half = f"{total // 2:,} of {total:,} weights removed, all of".replace(",", "\u202f")
        expect(line).to_contain_text(half.replace("removed\u202f", "removed,"))
        expect(line).to_contain_text("the mean weights are right on")
        removed = page.locator("rect.removed").count()
        page.get_by_role("slider", name="removed").press("ArrowRight")
        page.wait_for_url("**#pruning.rate=0.55&pruning.num_samples=0")
        assert page.locator("rect.removed").count() >= removed
        page.get_by_role("radio", name="mean of 10 draws").check()
        expect(line).to_contain_text("the mean of 10 draws is right on")
        page.get_by_role("slider", name="removed").press("End")
        expect(line).to_contain_text(
            f"{total:,} of {total:,} weights removed:".replace(",", "\u202f")
        )
        assert shown_accuracy(page) < 0.3  # nothing is left to tell the digits apart


def test_a_histogram_counts_every_ratio(visit: Visit, page_file: Path, model: nn.Module) -> None:
    ratios = signal_to_noise(rounded(model))
    with visit(page_file) as page:
        heights = page.locator("rect.bar").evaluate_all(
            "all => all.map(bar => bar.height.baseVal.value)"
        )
        texts = page.locator(".explorable-bars text").all_text_contents()
    most = max(
        int(text.replace("\u202f", "")) for text in texts if re.fullmatch("[\\d\u202f]+", text)
    )
    shares = torch.tensor(heights) / max(heights)
    assert int((ratios > 0).sum()) == pytest.approx(float(shares.sum()) * most, rel=1e-3)


@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 900}}, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    visit: Visit, page_file: Path, options: dict[str, Any], scheme: str
) -> None:
    with visit(page_file, **options) as page:
        check_open_to_all(page, scheme)


def test_without_javascript_there_is_a_picture(
    visit: Visit, page_file: Path, model: nn.Module
) -> None:
    total = signal_to_noise(model).numel()
    alt = f"Of {total} weights, the {total // 2} with the smallest |μ| / σ are removed."
    with visit(page_file, java_script_enabled=False) as page:
        expect(page.get_by_role("img")).to_have_attribute("alt", alt)
        expect(page.locator("p").first).to_contain_text("The mean weights are right on")


def test_python_sets_and_sees_the_state(explorer: PruningExplorer) -> None:
    seen: list[Any] = []
    explorer.observe(lambda change: seen.append(change["new"]), ["rate", "num_samples"])
    explorer.set_state({"rate": 0.3, "num_samples": 10})
    assert seen == [0.3, 10]
    assert "The mean of 10 draws is right on" in explorer.fallback()
    explorer.unobserve_all()
    explorer.set_state({"rate": 0.5, "num_samples": 0})


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("rate", 1.1, "rate is 1.1: it must be from 0 to 1."),
        ("num_samples", 4, "num_samples is 4: it must be one of 0, 10."),
    ],
)
def test_a_state_out_of_range_is_refused(
    explorer: PruningExplorer, trait: str, value: float, message: str
) -> None:
    with pytest.raises(traitlets.TraitError, match=f"^{message}$"):
        setattr(explorer, trait, value)


def test_a_network_without_noise_gets_one_sentence(digits: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="has no BayesianLinear layer"):
        PruningExplorer(fully_connected("FC-20-10"), *digits)
