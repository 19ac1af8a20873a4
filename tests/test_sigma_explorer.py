"""The explorable of noise in Python, and its page in a real browser."""

from __future__ import annotations

import copy
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import traitlets
from pages import LINE, PHONE, check_open_to_all, probabilities, said, write_page
from playwright.sync_api import Page, expect
from torch import Tensor, nn

from robustnb.data import load
from robustnb.defenses.noise import GaussianNoise, noise_layers, noisy_linear, with_noise_levels
from robustnb.metrics import accuracy
from robustnb.models import fully_connected, predict
from robustnb.plots.maps import HEAT
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit
from robustnb.widgets.network import round_trip, rounded
from robustnb.widgets.pictures import drawn_probabilities
from robustnb.widgets.sigma import SCALES, SigmaExplorer

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

NUM_IMAGES = 60


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """Train a small noisy network on the digits."""
    data = load("digits")
    with initial_weights(0):
        model = fully_connected("FC-30-20-10", layer=partial(noisy_linear, sigma_init=1.5))
    optimizer = with_noise_levels(model, partial(torch.optim.Adam, lr=5e-3), lr=1e-2)
    splits = data.split("train"), data.split("validation")
    fit(model, *splits, optimizer=optimizer, epochs=8, generator=seeded(0), progress=False)
    return model


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load("digits").split("test")
    return images[:NUM_IMAGES].clone(), labels[:NUM_IMAGES].clone()


@pytest.fixture
def explorer(model: nn.Module, digits: tuple[Tensor, Tensor]) -> SigmaExplorer:
    return SigmaExplorer(model, *digits)


@pytest.fixture
def page_file(explorer: SigmaExplorer, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def scaled(model: nn.Module, scale: float) -> nn.Module:
    copied = rounded(model)
    for layer in noise_layers(copied):
        layer.sigma.data *= scale
    return copied


def test_it_answers_for_the_pixels_of_the_page_and_draws_from_nobody(
    model: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = digits
    between = (images + 0.4 / 255).clamp(max=1).double()
    before = torch.get_rng_state()
    shown = SigmaExplorer(copy.deepcopy(model).double(), between, labels)
    assert torch.equal(torch.get_rng_state(), before)
    assert shown.fallback() == SigmaExplorer(model, images, labels).fallback()


def settled(page: Page) -> str:
    return said(page, "images are right")


def share_right(text: str) -> float:
    found = re.search(r"(\d+)% of \d+ images", text)
    assert found is not None
    return int(found[1]) / 100


def test_without_noise_the_page_is_torch_s_network(
    visit: Visit, explorer: SigmaExplorer, model: nn.Module, digits: tuple, tmp_path: Path
) -> None:
    explorer.scale = 0.0
    images = round_trip(digits[0], "uint8")
    logits = predict(scaled(model, 0.0), images)
    with visit(write_page(tmp_path, explorer)) as page:
        text = settled(page)
        assert (probabilities(page) - logits[0].softmax(0)).abs().max() < 1e-4
    assert text.startswith("Without noise")
    assert share_right(text) == pytest.approx(accuracy(logits, digits[1]), abs=0.006)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_with_noise_the_page_draws_from_torch_s_distribution(
    visit: Visit, explorer: SigmaExplorer, model: nn.Module, digits: tuple, tmp_path: Path, scale
) -> None:
    explorer.scale = scale
    images, noisy = round_trip(digits[0], "uint8"), scaled(model, scale)
    draws = drawn_probabilities(noisy, images[0], 2000, 0)
    right = torch.stack([predict(noisy, images).argmax(1) == digits[1] for _ in range(100)])
    with visit(write_page(tmp_path, explorer)) as page:
        share, found = share_right(settled(page)), probabilities(page)
    error = draws.std(0) / explorer.num_samples**0.5
    assert ((found - draws.mean(0)).abs() < 5 * error + 1e-3).all()
    chance = right.float().mean(0)
    spread = (chance * (1 - chance)).sum().sqrt().item() / NUM_IMAGES
    assert abs(share - chance.mean().item()) < 4.5 * spread + 0.006


def test_maps_are_the_learned_sigmas(visit: Visit, page_file: Path, model: nn.Module) -> None:
    with visit(page_file) as page:
        settled(page)
        canvases = page.locator(".explorable-panel > canvas")
        assert canvases.count() == 3
        layers = noise_layers(rounded(model))
        most = max(layer.sigma.abs().max().item() for layer in layers)
        for number, layer in enumerate(layers):
            inks = canvases.nth(number).evaluate(
                """(canvas) => {
                  const { width, height } = canvas;
                  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                  return [...data].filter((_, i) => i % 4 < 3 && data[i - (i % 4) + 3] > 0);
                }"""
            )
            sigma = layer.sigma.detach().abs()
            expected = torch.from_numpy(255 * HEAT((sigma / most).numpy())[:, :3])
            found = torch.tensor(inks).view(-1, 3)
            assert (found - expected).abs().max() <= 3
            label = canvases.nth(number).get_attribute("aria-label") or ""
            low, high = re.findall(r"\d[\d.e-]*", label.split("σ")[1])
            assert float(low) == pytest.approx(sigma.min().item(), rel=0.01)
            assert float(high) == pytest.approx(sigma.max().item(), rel=0.01)


def test_every_control_changes_picture_and_line(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        for act in (
            lambda: page.get_by_role("slider", name="noise").press("End"),
            lambda: page.get_by_role("radio").nth(0).press("ArrowRight"),
            lambda: page.get_by_role("button", name="New noise").click(),
        ):
            text, before = settled(page), probabilities(page)
            act()
            expect(page.locator(LINE)).not_to_have_text(text)
            assert not torch.equal(probabilities(page), before)


def test_the_curve_fills_in_by_itself(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        chart = page.get_by_role("img", name=re.compile("at 0 times.*at 64 times"))
        chart.wait_for()
        assert (chart.get_attribute("aria-label") or "").count("times") == len(SCALES)


def test_an_address_restores_all_of_it(visit: Visit, page_file: Path) -> None:
    address = f"{page_file.resolve().as_uri()}#sigma.scale=2&sigma.image=3&sigma.seed=7"
    seen = []
    for _ in range(2):
        with visit(address) as page:
            seen.append((settled(page), probabilities(page).tolist()))
            expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "× 2")
    assert seen[0] == seen[1]


def test_it_fits_a_phone_and_is_open_to_all(visit: Visit, page_file: Path) -> None:
    with visit(page_file, **PHONE) as page:
        settled(page)
        check_open_to_all(page)


def test_feature_maps_have_a_tile_each(visit: Visit, tmp_path: Path) -> None:
    with initial_weights(0):
        layers = [nn.Conv2d(3, 4, 3), GaussianNoise(4, 6, 6), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(*layers, nn.Linear(144, 2))
    images = torch.rand(2, 3, 8, 8, generator=seeded(0))
    widget = SigmaExplorer(model, images, torch.tensor([0, 1]), classes=["cat", "dog"])
    with visit(write_page(tmp_path, widget)) as page:
        settled(page)
        canvas = page.get_by_role("img", name="The noise of each of the 4 feature maps")
        sizes = canvas.evaluate("canvas => [canvas.width, canvas.height]")
    assert sizes in ([20, 6], [13, 13])
    assert "dog" in widget.fallback()


def test_without_javascript_there_is_a_picture(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        picture = page.get_by_role("img", name=re.compile("The noise of each neuron: σ of noise 1"))
        assert (picture.bounding_box() or {"width": 0})["width"] > 200
        expect(page.locator("p").first).to_contain_text("of 100 draws")


def test_python_sets_and_sees_the_state(explorer: SigmaExplorer) -> None:
    seen: list[float] = []
    explorer.observe(lambda change: seen.append(change["new"]), "scale")
    explorer.set_state({"scale": 2.0})  # what a message from the page does
    assert seen == [2.0]
    assert repr(explorer) == "<noise times 2, image 0>"


@pytest.mark.parametrize(("trait", "value"), [("scale", -1.0), ("image", 8), ("seed", -1)])
def test_what_cannot_be_is_refused(explorer: SigmaExplorer, trait: str, value: float) -> None:
    with pytest.raises((traitlets.TraitError, ValueError), match=f"{trait} is {value}: it must be"):
        setattr(explorer, trait, value)


def test_a_network_without_noise_is_named(digits: tuple[Tensor, Tensor]) -> None:
    for layer in (nn.Linear, partial(noisy_linear, at_inference=False)):
        with pytest.raises(ValueError, match="has no noise at inference"):
            SigmaExplorer(fully_connected("FC-10", layer=layer), *digits)
