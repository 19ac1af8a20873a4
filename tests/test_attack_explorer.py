"""The attack explorable in Python, and its page in a real browser."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torchvision
import traitlets
from playwright.sync_api import Page, expect
from torch import Tensor, nn

from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear, sample_logits
from robustnb.models import fully_connected, predict
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit
from robustnb.widgets.attack import AttackExplorer
from robustnb.widgets.network import round_trip, rounded

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LINE = ".explorable [aria-live=polite]"


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """Train two small networks on the digits until they are right about most."""
    data = load("digits")
    trained: dict[str, nn.Module] = {}
    for name, layer in (("plain", nn.Linear), ("Bayesian", BayesianLinear)):
        with initial_weights(0):
            model = fully_connected("FC-30-20-10", layer=layer)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        splits = data.split("train"), data.split("validation")
        fit(model, *splits, optimizer=optimizer, epochs=5, generator=seeded(0), progress=False)
        trained[name] = model
    return trained


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    images, labels = load("digits").split("test")
    return images[:6].clone(), labels[:6].clone()


@pytest.fixture
def explorer(models: dict[str, nn.Module], digits: tuple[Tensor, Tensor]) -> AttackExplorer:
    return AttackExplorer(models, *digits)


def write_page(folder: Path, *widgets: AttackExplorer) -> Path:
    page = folder / "page.html"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    body = "\n".join(widget.static_html() for widget in widgets)
    page.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
    return page


@pytest.fixture
def page_file(explorer: AttackExplorer, tmp_path: Path) -> Path:
    return write_page(tmp_path, explorer)


def shown(page: Page) -> list[list[float]]:
    """Return the probabilities of each network, as high as its bars are."""
    page.locator(".explorable-bars .bar").first.wait_for(state="attached")
    return page.evaluate(
        """[...document.querySelectorAll(".explorable-bars")].map((svg) => {
          const [top, bottom] = [...svg.querySelectorAll("line")].map((line) => line.y1.baseVal);
          const whole = bottom.value - top.value;
          const bars = [...svg.querySelectorAll(".bar")];
          return bars.map((bar) => Number(bar.getAttribute("height")) / whole);
        })"""
    )


def pixels(page: Page, name: str) -> str:
    canvas = page.get_by_role("img", name=re.compile(name))
    data: str = canvas.evaluate("canvas => canvas.toDataURL()")
    return data


def line(page: Page) -> str:
    return page.locator(LINE).first.text_content() or ""


# --- in the page


def test_probabilities_shown_are_those_of_torch(
    visit: Visit, page_file: Path, models: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    images, labels = (each[:1] for each in digits)
    plain, bayesian = (rounded(models[name]) for name in ("plain", "Bayesian"))
    attacked = FGSM(0.1)(plain, images, labels)
    with visit(page_file) as page:
        found = torch.tensor(shown(page))
        assert re.match("At ε 0.1 the plain network (still )?says ", line(page))
    assert (found[0] - predict(plain, attacked).softmax(1)[0]).abs().max() < 1e-4
    draws = sample_logits(bayesian, attacked, 4000, seeded(0)).softmax(-1)[:, 0]
    error = draws.std(0) / 100**0.5  # of the mean of 100 draws
    assert ((found[1] - draws.mean(0)).abs() < 5 * error + 1e-3).all()


def test_the_line_says_what_the_bars_show(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        plain, bayesian = shown(page)
        said = re.findall(r"(\w+) network (?:still )?says (\d) \((>?\d+)%\)", line(page))
        assert [name for name, _, _ in said] == ["plain", "Bayesian"]
        for (_, top, percent), values in zip(said, (plain, bayesian), strict=True):
            assert int(top) == values.index(max(values))
            expected = ">99" if max(values) > 0.995 else str(round(100 * max(values)))
            assert percent == expected


def test_every_control_changes_picture_and_line(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        shown(page)
        for act in (
            lambda: page.get_by_role("slider", name="strength ε").press("End"),
            lambda: page.get_by_label("PGD, 10 steps").check(),
            lambda: page.get_by_role("radio", name="Bayesian").check(),
            lambda: page.get_by_label("minimum norm").check(),
            lambda: page.get_by_role("radio").nth(0).press("ArrowRight"),
        ):
            before, bars, said = pixels(page, "attacked"), shown(page), line(page)
            act()
            expect(page.locator(LINE).first).not_to_have_text(said)
            assert pixels(page, "attacked") != before
            assert shown(page) != bars


def test_without_strength_there_is_no_perturbation(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        shown(page)
        page.get_by_role("slider", name="strength ε").press("Home")
        page.get_by_role("img", name="No perturbation.").wait_for()
        opening = "At ε 0, where no pixel moves, the plain network says"
        expect(page.locator(LINE).first).to_contain_text(opening)
        assert "still" not in line(page)


def test_a_bar_says_what_the_colours_of_a_perturbation_mean(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        bar = page.locator(".explorable-colours")
        shown(page)
        expect(bar).to_have_text("−0.10.1")
        page.get_by_role("slider", name="strength ε").press("End")
        expect(bar).to_have_text("−0.30.3")


def test_the_smallest_perturbation_needs_no_strength(visit: Visit, page_file: Path) -> None:
    with visit(page_file) as page:
        shown(page)
        expect(page.get_by_role("slider")).to_be_enabled()
        page.get_by_label("minimum norm").check()
        expect(page.get_by_role("slider")).to_be_disabled()
        opening = "With the smallest perturbation found (root mean square 0."
        expect(page.locator(LINE).first).to_contain_text(opening)


def test_a_seed_gives_the_same_draws_again(
    visit: Visit, page_file: Path, explorer: AttackExplorer, tmp_path: Path
) -> None:
    with visit(page_file) as page:
        first = shown(page)
        page.get_by_role("button", name="New random draws").click()
        page.wait_for_function("location.hash.includes('attack.seed=1')")
        second = shown(page)
    assert first[0] == second[0]
    assert first[1] != second[1]
    explorer.seed = 1
    folder = tmp_path / "again"
    folder.mkdir()
    with visit(write_page(folder, explorer)) as page:
        assert shown(page) == second


def test_an_address_restores_all_of_it(visit: Visit, page_file: Path) -> None:
    state = "attack.image=2&attack.attack=PGD&attack.target=Bayesian&attack.eps=0.2&attack.seed=5"
    address = f"{page_file.resolve().as_uri()}#{state}"
    with visit(address) as page:
        linked = shown(page), line(page)
        expect(page.get_by_label("PGD, 10 steps")).to_be_checked()
        expect(page.get_by_role("radio", name="Bayesian")).to_be_checked()
        expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "0.2")
    with visit(address) as page:
        assert (shown(page), line(page)) == linked


def test_a_finger_drags_the_strength_on_a_phone(visit: Visit, page_file: Path) -> None:
    with visit(page_file, **PHONE) as page:
        shown(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        slider = page.get_by_role("slider", name="strength ε")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + 0.98 * box["width"], box["y"] + box["height"] / 2)
        expect(page.locator(LINE).first).to_contain_text("At ε 0.3 ")


def test_colour_images_of_one_network(visit: Visit, tmp_path: Path) -> None:
    with initial_weights(0):
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)]
    images = torch.rand(2, 3, 8, 8, generator=seeded(0))
    widget = AttackExplorer(
        nn.Sequential(*layers),
        images,
        torch.tensor([0, 1]),
        classes=["cat", "dog"],
        eps_values=[0, 8 / 255],
        eps=8 / 255,
    )
    with visit(write_page(tmp_path, widget)) as page:
        shown(page)
        expect(page.locator(LINE).first).to_contain_text(
            re.compile(r"^At ε 0.0314 the network (still )?says (cat|dog) \(\d+%\)\. True class: c")
        )
        expect(page.get_by_role("radio", name="plain")).to_have_count(0)
        expect(page.get_by_role("button", name="New random draws")).to_have_count(0)
        page.get_by_label("PGD").check()
        expect(page.get_by_role("button", name="New random draws")).to_be_visible()
        page.get_by_role("slider").press("Home")  # a random start within 0 is none
        expect(page.get_by_role("button", name="New random draws")).to_have_count(0)
        expect(page.locator(LINE).first).to_contain_text("At ε 0, where no pixel moves, the")


def test_without_javascript_a_picture_stands_in(visit: Visit, page_file: Path) -> None:
    with visit(page_file, java_script_enabled=False) as page:
        picture = page.get_by_role("img", name=re.compile(r"The true class is .\. plain says"))
        expect(picture).to_be_visible()
        text = page.locator(".explorable-text").text_content() or ""
    assert text.startswith("FGSM at ε = 0.1 with the gradient of plain. The true class is ")
    assert text.endswith(" The controls need JavaScript.")


# --- in Python


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "minimum norm"])
def test_the_stand_in_is_computed_by_torch(
    models: dict[str, nn.Module], digits: tuple[Tensor, Tensor], attack: str
) -> None:
    widget = AttackExplorer(models["Bayesian"], *digits, attack=attack, image=2, num_samples=5)
    settings = {"FGSM": FGSM(0.1, 10), "PGD": PGD(0.1, 0.025, 10, eot_samples=10)}
    model, images, labels = rounded(models["Bayesian"]), digits[0][2:3], digits[1][2:3]
    attacked = settings.get(attack, MinimumNorm())(model, images, labels, seeded(0))
    mean = sample_logits(model, attacked, 5, seeded(1)).softmax(-1).mean(0)[0]
    said = f"network says {mean.argmax()} ({mean.max():.2f})"
    assert said in widget.fallback()


def test_equal_explorers_give_the_same_bytes(
    models: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    one, other = (AttackExplorer(models, *digits).static_html() for _ in range(2))
    assert one == other


def test_python_sets_and_sees_the_controls(explorer: AttackExplorer) -> None:
    seen: list[Any] = []
    explorer.observe(lambda change: seen.append((change["name"], change["new"])))
    explorer.eps = 0.25
    explorer.set_state({"target": "Bayesian", "attack": "PGD", "image": 3, "seed": 7})
    assert dict(seen).items() >= {"eps": 0.25, "target": "Bayesian", "image": 3}.items()
    assert repr(explorer) == "<PGD on Bayesian, eps 0.25, image 3>"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("eps", 1.5, "eps is 1.5: it must be from 0 to 1."),
        ("eps", -0.1, "eps is -0.1: it must be from 0 to 1."),
        ("image", 6, "image is 6: it must be from 0 to 5."),
        ("attack", "CW", "attack is 'CW': it must be one of FGSM, PGD, minimum norm."),
        ("target", "other", "target is 'other': it must be one of plain, Bayesian."),
        ("seed", -1, "seed is -1: it must be from 0 to 4294967295."),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    explorer: AttackExplorer, name: str, value: Any, message: str
) -> None:
    with pytest.raises(traitlets.TraitError, match=f"^{re.escape(message)}$"):
        setattr(explorer, name, value)


class Pair(nn.Module):
    """Answer with logits and something else."""

    def forward(self, images: Tensor) -> tuple[Tensor, int]:
        return images.flatten(1), 0


def one_output() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 1))


def not_a_number() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    model[1].bias.data[0] = torch.nan
    return model


@pytest.mark.parametrize(
    "number", [np.float32, np.float64, torch.tensor], ids=["float32", "float64", "tensor"]
)
def test_settings_may_be_numbers_of_numpy_and_torch(
    models: dict[str, nn.Module], digits: tuple[Tensor, Tensor], number: Any
) -> None:
    whole = torch.tensor if number is torch.tensor else np.int64
    values = [number(0.0), number(0.25), number(0.5)]
    settings = {"eps": number(0.25), "seed": whole(3), "steps": whole(4), "eps_values": values}
    widget = AttackExplorer(models, *digits, image=whole(2), **settings)
    widget.eps = number(0.5)
    expected = AttackExplorer(
        models, *digits, image=2, eps=0.5, seed=3, steps=4, eps_values=[0, 0.25, 0.5]
    )
    assert widget.static_html() == expected.static_html()
    with pytest.raises(traitlets.TraitError, match=r"eps is 1\.5"):
        widget.eps = number(1.5)


# --- a network that the page cannot run


class Attending(nn.Module):
    """Attend to the rows of an image, and draw a little noise: no layer here is the page's."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(28, 4, batch_first=True)
        self.last = nn.Linear(28, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.squeeze(1)
        rows = rows + self.attention(rows, rows, rows, need_weights=False)[0]
        return self.last(rows.mean(1) + 0.01 * torch.randn(28))


class Frontend:
    """Ask a widget as its page does, and keep what it sends."""

    def __init__(self, widget: AttackExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[Any] = []
        monkeypatch.setattr(widget, "send", lambda content, buffers=None: self.sent.append(content))
        self.widget = widget

    def ask(self, **setting: Any) -> dict[str, Any]:
        usual = {
            "drawing": "",
            "image": 0,
            "attack": "FGSM",
            "target": "network",
            "eps": 0.1,
            "seed": 0,
        }
        question = {"method": "custom", "content": {"setting": usual | setting}}
        self.widget._handle_msg({"content": {"data": question}, "buffers": []})
        assert self.sent[-1]["setting"] == usual | setting
        return self.sent[-1]


@pytest.mark.parametrize("attack", ["FGSM", "PGD", "minimum norm"])
def test_the_kernel_answers_for_any_network(
    digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    with initial_weights(0):
        model = Attending()
    asking = Frontend(AttackExplorer(model, *digits), monkeypatch)
    asked = {"attack": attack, "image": 2, "eps": 0.2, "seed": 4}
    state = torch.get_rng_state()
    found = asking.ask(**asked)
    assert found == asking.ask(**asked)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    image = round_trip(digits[0], "uint8")[2:3]
    attacked = torch.tensor(found["attacked"]).view_as(image)
    expected = torch.stack([predict(model, attacked).softmax(1)[0] for _ in range(50)]).mean(0)
    assert (torch.tensor(found["answers"])[0] - expected).abs().max() < 0.01
    if attack != "minimum norm":  # the label is lost already
        assert (attacked - image).abs().max() == pytest.approx(0.2)
        label = digits[1][2]
        assert expected[label] < predict(model, image).softmax(1)[0, label] - 0.005


def test_the_kernel_says_what_went_wrong(
    digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = Frontend(AttackExplorer(Attending(), *digits), monkeypatch)
    assert asking.ask(eps=-1)["error"].startswith("eps is -1: it must be ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_resnets_and_other_networks_side_by_side(
    visit: Visit, models: dict[str, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with initial_weights(0):
        resnet = torchvision.models.resnet18(num_classes=10)
    images, labels = torch.rand(2, 3, 28, 28, generator=seeded(0)), torch.tensor([3, 4])
    small = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 10))
    widget = AttackExplorer({"ResNet": resnet, "small": small}, images, labels)
    answers = Frontend(widget, monkeypatch).ask(target="ResNet", eps=0.0)["answers"]
    stored = round_trip(images, "uint8")[:1]
    for found, model in zip(answers, (resnet, small), strict=True):
        expected = predict(model, stored).softmax(1)[0]
        torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-5)
    with visit(write_page(tmp_path, widget)) as page:
        picture = page.get_by_role("img", name=re.compile(r"The true class is 3\. ResNet says"))
        expect(picture).to_be_visible()
        text = page.locator(".explorable-text").text_content() or ""
    assert text.endswith("The controls need Jupyter, since ResNet cannot run in the page.")


# --- names of classes

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def overlapping(page: Page) -> list[list[str]]:
    return page.evaluate(
        """() => [...document.querySelectorAll(".explorable-bars")].flatMap((svg) => {
          const names = [...svg.querySelectorAll("text:not(.scale)")];
          const boxes = names.map((name) => name.getBoundingClientRect());
          const meet = (a, b) =>
            a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
          return names.flatMap((one, i) => names.slice(i + 1)
            .filter((_, j) => meet(boxes[i], boxes[i + 1 + j]))
            .map((other) => [one.textContent, other.textContent]));
        })"""
    )


@pytest.mark.parametrize(
    "classes",
    [CIFAR, tuple("0123456789"), tuple(f"a very long name, number {i}" for i in range(10))],
    ids=["CIFAR-10", "digits", "long"],
)
def test_names_of_classes_do_not_overprint_each_other(
    visit: Visit, models: dict[str, nn.Module], digits: tuple[Tensor, Tensor], classes, tmp_path
) -> None:
    widget = AttackExplorer(models, *digits, classes=classes)
    with visit(write_page(tmp_path, widget)) as page:
        assert len(shown(page)[0]) == 10
        assert overlapping(page) == []
        lowest = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll(".explorable-bars")].map((svg) =>
              svg.getBoundingClientRect().bottom - Math.max(...[...svg.querySelectorAll("text")]
                .map((text) => text.getBoundingClientRect().bottom))))"""
        )
        assert lowest > -2


def test_dollars_in_names_are_no_formulas(
    models: dict[str, nn.Module], digits: tuple[Tensor, Tensor]
) -> None:
    classes = ["US$", "AU$", "$x^2$", "$\\frac$", *"456789"]
    text = AttackExplorer({"$net$": models["plain"]}, *digits, classes=classes).fallback()
    drawn = base64.b64decode(text.split("base64,")[1].split('"')[0]).decode()
    for name in (*classes[:4], "$net$"):
        assert f">{name}</text>" in drawn
    assert re.search(r"\$net\$ says \S+ \(0", text)


@pytest.mark.parametrize(
    ("model", "shape", "labels", "options", "message"),
    [
        (Pair(), (1, 2, 2), [0], {}, "the network returns a tuple: "),
        (one_output(), (1, 2, 2), [0], {}, "the network returns one number for each image: "),
        (not_a_number(), (1, 2, 2), [0], {}, "the network's logits are NaN for 1 of 1 images"),
        ("good", (1, 2, 2), [0], {"eps_values": []}, "eps_values is empty: the slider needs one"),
        (
            "good",
            (1, 2, 2),
            [0],
            {"eps_values": [0, 8]},
            "eps_values has 8: each must be from 0 to 1.",
        ),
        ("good", (1, 2, 2), [0, 1], {}, "labels have shape (2,) for 1 images: it takes one label"),
        ("good", (2, 2, 1), [0], {}, "images have shape (1, 2, 2, 1): they must be (N, C, H, W)"),
        ("good", (1, 2, 2), [5], {}, "labels go from 5 to 5: they must be from 0 to 2."),
        ("good", (1, 2, 2), [0], {"classes": "ab"}, "classes has the length 2, and the "),
        ({}, (1, 2, 2), [0], {}, "There is no network: AttackExplorer takes one at least."),
    ],
)
def test_what_cannot_be_shown_is_refused(
    model: Any, shape: tuple[int, ...], labels: list[int], options: Any, message: str
) -> None:
    good = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = torch.zeros(1, *shape)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        AttackExplorer(good if model == "good" else model, images, torch.tensor(labels), **options)


def test_networks_must_agree_about_the_classes() -> None:
    models = {"a": nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "b": nn.Flatten()}
    with pytest.raises(ValueError, match="a network has 3 and 4 outputs: it must have 4"):
        AttackExplorer(models, torch.zeros(1, 1, 2, 2), torch.tensor([0]))


@pytest.mark.parametrize(
    ("models", "images", "named"),
    [
        ("x", torch.zeros(2, 1, 4, 4), "models is a str: it must be a network, or a dict"),
        (
            fully_connected("FC-10", in_features=9),
            torch.zeros(2, 1, 4, 4),
            "a network does not take images of shape .2, 1, 4, 4.: ",
        ),
        (nn.Flatten(), [[0.0]], "images are of the type list: they must be a tensor"),
        (nn.Flatten(), torch.zeros(1, 4, 4), "images have shape .1, 4, 4.: they must be a batch"),
    ],
)
def test_what_is_no_network_or_no_batch_is_named(models: Any, images: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        AttackExplorer(models, images, torch.zeros(len(images), dtype=torch.long))


def test_too_few_names_of_classes_are_blamed_and_not_the_network() -> None:
    images, labels = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="classes has the length 1, and the network has 16 output"):
        AttackExplorer(nn.Flatten(), images, labels, classes=["a"])


def test_answers_are_those_at_another_setting_that_is_not_kept(explorer: AttackExplorer) -> None:
    before, usual = repr(explorer), explorer.answers()
    changed = explorer.answers(target="Bayesian", eps=0.3, image=2)
    assert repr(explorer) == before
    explorer.target, explorer.eps, explorer.image = "Bayesian", 0.3, 2
    for name, probabilities in explorer.answers().items():
        assert torch.equal(probabilities, changed[name])
        assert not torch.equal(probabilities, usual[name])
    with pytest.raises(TypeError, match=r"^there is no 'epsilon': answers takes drawing, image,"):
        explorer.answers(epsilon=0.3)
