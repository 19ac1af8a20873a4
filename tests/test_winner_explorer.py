"""The explorable of competing units in Python, and its page in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import traitlets
from pages import LINE, PHONE, check_open_to_all, probabilities, said, write_page
from playwright.sync_api import Page, expect
from torch import Tensor, nn

from robustnb.data import load
from robustnb.defenses.lwta import WinnerTakesAll, winners_by
from robustnb.models import predict
from robustnb.plots.maps import HEAT
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import fit
from robustnb.widgets.network import round_trip, rounded
from robustnb.widgets.pictures import drawn_probabilities
from robustnb.widgets.winner_takes_all import WinnerExplorer

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load("digits").split("test")
    return images[:5].clone(), labels[:5].clone()


@pytest.fixture(scope="module")
def models() -> dict[int, nn.Module]:
    """Train two small networks on the digits, with blocks of two units and of four."""
    data, trained = load("digits"), {}
    size = data.split("test")[0][0].numel()
    for units in (2, 4):
        with initial_weights(0):
            layers = [nn.Linear(size, 24), WinnerTakesAll(units), nn.Linear(24, 16)]
            model = nn.Sequential(nn.Flatten(), *layers, WinnerTakesAll(units), nn.Linear(16, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        splits = data.split("train"), data.split("validation")
        fit(model, *splits, optimizer=optimizer, epochs=8, generator=seeded(0), progress=False)
        trained[units] = model
    return trained


@pytest.fixture
def explorer(models: dict[int, nn.Module], digits: tuple[Tensor, Tensor]) -> WinnerExplorer:
    return WinnerExplorer(models, *digits)


@pytest.fixture
def page_file(explorer: WinnerExplorer, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def settled(page: Page) -> str:
    return said(page, "True class")


def masks(page: Page) -> list[Tensor]:
    """Return the heat of each cell of each layer between 0 and 1, in rows; NaN between blocks."""
    found = page.locator(".explorable-panel > canvas").evaluate_all(
        """(canvases) => canvases.map((canvas) => {
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          return [height, width, Array.from(data)];
        })"""
    )
    colours = 255 * torch.from_numpy(HEAT(torch.linspace(0, 1, 256).numpy())).float()
    pixels = [torch.tensor(data).view(height, width, 4).float() for height, width, data in found]
    return [
        torch.where(one[..., 3] == 0, torch.nan, torch.cdist(one, colours).argmin(-1) / 255)
        for one in pixels
    ]


def blocks(mask: Tensor, units: int) -> Tensor:
    """Return the cells (blocks, units) of a layer of single neurons."""
    cells = [
        mask[top : top + units, left]
        for top in range(0, mask.shape[0], units + 1)
        for left in range(0, mask.shape[1], 2)
    ]
    return torch.stack([cell for cell in cells if not cell.isnan().any()])


@pytest.mark.parametrize("units", [2, 4])
@pytest.mark.parametrize("mode", ["mean", "argmax"])
def test_masks_and_probabilities_are_those_of_torch(
    visit: Visit, explorer: WinnerExplorer, models, digits, tmp_path: Path, units: int, mode: Any
) -> None:
    explorer.units, explorer.mode, explorer.image = units, mode, 2
    model, image = rounded(models[units]), round_trip(digits[0], "uint8")[2:3]
    with winners_by(model, mode), torch.no_grad():
        expected = model(image).softmax(1)[0]
        h = model[1](model[0](image)).unflatten(1, (-1, units))
        mask = model[2].mask(h)[0]
    with visit(write_page(tmp_path, explorer)) as page:
        text = settled(page)
        assert (probabilities(page) - expected).abs().max() < 1e-4
        found = blocks(masks(page)[0], units)
    assert (found - mask).abs().max() < 0.01
    assert f"The answer is {expected.argmax()} (" in text


def test_one_unit_of_each_block_is_lit(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        first, second = (blocks(mask, 2) for mask in masks(page))
    assert (first.shape, second.shape) == ((12, 2), (8, 2))
    for cells in (first, second):
        assert ((cells > 0.99).sum(1) == 1).all()
        assert ((cells < 0.01).sum(1) == 1).all()


@pytest.mark.parametrize("mode", ["sample", "relaxed"])
def test_draws_are_from_torch_s_distribution(
    visit: Visit, explorer: WinnerExplorer, models, digits, tmp_path: Path, mode: Any
) -> None:
    explorer.mode = mode
    model, image = rounded(models[2]), round_trip(digits[0], "uint8")[0]
    with winners_by(model, mode, 0.67):
        draws = drawn_probabilities(model, image, 2000, 0)
    with visit(write_page(tmp_path, explorer)) as page:
        settled(page)
        found = probabilities(page)
    error = draws.std(0) / explorer.num_samples**0.5
    assert ((found - draws.mean(0)).abs() < 5 * error + 1e-3).all()


def test_every_control_changes_picture_and_line(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        for act in (
            lambda: page.get_by_role("radio", name="relaxed").check(),
            lambda: page.get_by_role("slider", name="temperature").press("End"),
            lambda: page.get_by_role("radiogroup", name="units").get_by_label("4").check(),
            lambda: page.get_by_role("radio").nth(0).press("ArrowRight"),
            lambda: page.get_by_role("button", name="Draw again").click(),
            lambda: page.get_by_label("mean").check(),
        ):
            text, before = settled(page), [mask.tolist() for mask in masks(page)]
            act()
            expect(page.locator(LINE)).not_to_have_text(text)
            assert [mask.tolist() for mask in masks(page)] != before


def test_controls_without_effect_are_off(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        settled(page)
        slider, again = page.get_by_role("slider"), page.get_by_role("button", name="Draw again")
        expect(slider).to_be_disabled()
        expect(page.get_by_text("Only the relaxed mask has a temperature.")).to_be_visible()
        page.get_by_label("largest").check()
        expect(again).to_have_count(0)
        page.get_by_role("radio", name="relaxed").check()
        expect(slider).to_be_enabled()
        expect(again).to_be_visible()


def test_an_address_restores_all_of_it(visit: Visit, page_file: Path) -> None:
    state = "winner.units=4&winner.image=3&winner.mode=relaxed&winner.temperature=0.2&winner.seed=9"
    seen = []
    for _ in range(2):
        with visit(f"{page_file.resolve().as_uri()}#{state}") as page:
            seen.append((settled(page), probabilities(page).tolist(), str(masks(page))))
    assert seen[0] == seen[1]
    assert seen[0][0].startswith("In blocks of 4 at temperature 0.2, winners have ")


def test_feature_maps_compete_at_each_position(visit: Visit, tmp_path: Path) -> None:
    with initial_weights(0):
        layers = [nn.Conv2d(3, 6, 3), WinnerTakesAll(3), nn.Flatten(), nn.Linear(216, 2)]
        model = nn.Sequential(*layers)
    images = torch.rand(2, 3, 8, 8, generator=seeded(0))
    classes, labels = ["cat", "dog"], torch.tensor([0, 1])
    widget = WinnerExplorer(model, images, labels, classes=classes, mode="argmax")
    with visit(write_page(tmp_path, widget)) as page:
        settled(page)
        (mask,) = masks(page)
    tiles = [mask[:, 7 * block : 7 * block + 6].view(3, 6, 6) for block in range(2)]
    hard = rounded(model)
    with winners_by(hard, "argmax"), torch.no_grad():
        expected = hard[1].mask(hard[0](round_trip(images[:1], "uint8")).unflatten(1, (2, 3)))[0]
    assert (torch.stack(tiles) - expected).abs().max() < 0.01


def test_it_fits_a_phone_and_is_open_to_all(visit: Visit, page_file: Path) -> None:
    with visit(page_file, **PHONE) as page:
        settled(page)
        check_open_to_all(page)


def test_without_javascript_there_is_a_picture(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        picture = page.get_by_role("img", name=re.compile("The mean of 100 draws says"))
        assert (picture.bounding_box() or {"width": 0})["width"] > 200
        expect(page.locator("p").first).to_contain_text("Blocks of 2 units, mask sample, image 1.")


@pytest.mark.parametrize(
    ("trait", "value"),
    [("units", 3), ("mode", "hard"), ("temperature", 0.0), ("image", 5), ("seed", -1)],
)
def test_what_cannot_be_is_refused(explorer: WinnerExplorer, trait: str, value: object) -> None:
    with pytest.raises((traitlets.TraitError, ValueError), match=f"{trait} is {value!r}: it must"):
        setattr(explorer, trait, value)


def test_networks_that_do_not_fit_are_named(models: dict[int, nn.Module], digits: tuple) -> None:
    with pytest.raises(ValueError, match="has no blocks"):
        WinnerExplorer(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), *digits)
    with pytest.raises(ValueError, match="blocks of 2 and 4"):
        WinnerExplorer(nn.Sequential(WinnerTakesAll(2), WinnerTakesAll(4)), *digits)
    with pytest.raises(ValueError, match="under 3 has blocks of 2 units"):
        WinnerExplorer({3: models[2]}, *digits)


def test_python_leaves_the_networks_as_they_were(explorer: WinnerExplorer, models, digits) -> None:
    with noise_from(models[2], seeded(0)):
        before = predict(models[2], digits[0])
    explorer.fallback()
    with noise_from(models[2], seeded(0)):
        assert torch.equal(predict(models[2], digits[0]), before)
    assert models[2][2].mode == "straight-through"
