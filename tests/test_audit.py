"""The audit against closed forms, and what it says of networks that return odd things."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup
from torch import Tensor, nn

import robustnb
from robustnb.attacks.black_box import Square
from robustnb.auditing.network import Network
from robustnb.auditing.outcome import drop, interval
from robustnb.auditing.report import Report
from robustnb.auditing.signs import RULES
from robustnb.metrics import wilson_interval
from robustnb.randomness import seeded

NEEDED = ("clean", "attacks", "worst_case", "interval", "signs", "believable", "seconds", "passes")


def linear(classes: int = 5, seed: int = 0) -> nn.Sequential:
    layer = nn.Linear(36, classes)
    with torch.no_grad():
        layer.weight.normal_(generator=seeded(seed))
        layer.bias.normal_(generator=seeded(seed + 1))
    return nn.Sequential(nn.Flatten(), layer)


def grey_images(number: int = 200) -> Tensor:
    """Images from which no attack of up to 0.2 reaches black or white."""
    return 0.3 + 0.4 * torch.rand(number, 1, 6, 6, generator=seeded(7))


def distances(model: nn.Sequential, images: Tensor, labels: Tensor, norm: str) -> Tensor:
    """Return how far each image is from the nearest other class of a linear network (N,)."""
    weights, logits = model[1].weight, model(images)
    gaps = logits.gather(1, labels.unsqueeze(1)) - logits
    apart = weights[labels].unsqueeze(1) - weights
    slopes = apart.abs().sum(2) if norm == "linf" else apart.norm(dim=2)
    found = torch.where(slopes > 0, gaps / slopes, math.inf)
    return found.amin(1).detach()


def quick(model: nn.Module, *arguments: Any, **options: Any) -> Report:
    return robustnb.audit(model, *arguments, effort="quick", progress=False, **options)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_worst_case_of_a_linear_network_is_exact(norm: Any, classes: int) -> None:
    model, images = linear(classes), grey_images()
    labels = model(images).argmax(1)
    away = distances(model, images, labels, norm)
    eps = away.quantile(0.4).item()
    report = quick(model, images, labels, eps, norm)
    near = (away / eps - 1).abs() < 0.01  # what is that close may go either way
    exact = (away > eps).float()
    assert report.worst_case == pytest.approx(exact.mean().item(), abs=near.float().mean().item())
    assert 0.5 < report.worst_case < 0.7
    assert report.believable, report


class Wavering(nn.Module):
    """Add normal noise of torch's global generator to the logits of a linear network."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.linear, self.sigma = linear(2), sigma

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images)
        return logits + self.sigma * torch.randn_like(logits)


def test_a_random_network_is_judged_at_its_expectation() -> None:
    """At the nearest corner the right answer has the probability Phi(gap / (sigma sqrt 2))."""
    model, images, eps = Wavering(2.0), grey_images(), 0.02
    labels = model.linear(images).argmax(1)
    logits = model.linear(images).detach()
    gap = (logits.gather(1, labels.unsqueeze(1)) - logits).amax(1)
    away = distances(model.linear, images, labels, "linf")
    left = gap * (1 - eps / away)
    expected = torch.special.ndtr(left / (2.0 * math.sqrt(2))).mean().item()
    report = quick(model, images, labels, eps)
    assert report.worst_case == pytest.approx(expected, abs=0.04)
    low, high = report.interval
    assert low < expected < high
    assert any(sign.rule.name == "random outputs" for sign in report.raised)


def test_intervals_and_differences_are_the_textbook_ones() -> None:
    right = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 1.0]])
    assert interval(right[:1]) == pytest.approx(wilson_interval(0.75, 4))
    low, high = wilson_interval(0.625, 4)
    of_draws = 12.7062 * 0.1767767 / math.sqrt(2)  # of the means 0.75 and 0.5, by Student's t
    found = interval(right)
    assert found[0] == pytest.approx(max(0, 0.625 - math.hypot(0.625 - low, of_draws)), abs=1e-6)
    assert found[1] == pytest.approx(min(1, 0.625 + math.hypot(high - 0.625, of_draws)), abs=1e-6)
    mean, error = drop(torch.ones(1, 4), right)
    assert mean == pytest.approx(0.375)
    assert error == pytest.approx(torch.tensor([0, 0.5, 1, 0.0]).std().item() / 2)


def test_a_report_is_text_data_and_a_page() -> None:
    model, images = linear(), grey_images(50)
    report = quick(model, images, model(images).argmax(1), 0.05)
    found = json.loads(report.json())
    assert set(NEEDED) <= found.keys()
    assert found["worst_case"] == pytest.approx(report.worst_case)
    assert found["interval"][0] <= found["worst_case"] <= found["interval"][1]
    looked = {sign["name"] for sign in found["signs"] + found["quiet_signs"]}
    for sign in found["signs"] + found["quiet_signs"]:
        assert {"name", "value", "threshold", "source", "advice"} <= sign.keys()
    assert {"zero gradients", "black box beats white box", "the active test fails"} <= looked
    page = BeautifulSoup(report._repr_html_(), "html.parser")
    assert "worst case" in page.find("svg")["aria-label"]
    heads = [
        " ".join(head.get_text(" ").split())
        for head in page.find("table").find_all("th", scope="row")
    ]
    assert heads[0] == "no attack"
    assert heads[-1] == "worst case"
    assert report.sentence in page.get_text()
    for name in found["attacks"]:
        assert name in str(report)


def test_the_worst_case_is_never_above_an_attack() -> None:
    model, images = linear(), grey_images()
    report = quick(model, images, model(images).argmax(1), 0.05)
    assert report.worst_case <= min(each.accuracy for each in report.attacks)


def test_the_network_stays_as_it_was() -> None:
    model, images = nn.Sequential(linear(), nn.Dropout(0.5)).train(), grey_images(40)
    labels = linear()(images).argmax(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    quick(model, images, labels, 0.05)
    assert model.training
    assert model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert not model._forward_hooks
    assert not any(module._forward_pre_hooks for module in model.modules())


class Returning(nn.Module):
    """Return the logits of a linear network inside something else."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.wrap = linear(), wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.linear(images))


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda logits: {"logits": logits, "loss": None}, "logits"),
        (lambda logits: (None, logits), 1),
        (lambda logits: {"head": [logits]}, lambda answer: answer["head"][0]),
    ],
)
def test_logits_are_found_where_output_says(wrap: Any, output: Any) -> None:
    images = grey_images(50)
    labels = linear()(images).argmax(1)
    same = quick(linear(), images, labels, 0.05)
    assert quick(Returning(wrap), images, labels, 0.05, output=output).worst_case == same.worst_case


def test_batches_of_a_loader_are_one_set() -> None:
    images = grey_images(50)
    labels = linear()(images).argmax(1)
    pairs = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(pairs, batch_size=20)
    report = quick(linear(), loader, eps=0.05)
    assert report.worst_case == quick(linear(), images, labels, 0.05).worst_case


def test_sources_and_a_stand_in_are_attacked_too() -> None:
    images = grey_images(60)
    labels = linear()(images).argmax(1)
    report = quick(linear(), images, labels, 0.05, sources=[linear()], stand_in=linear())
    names = [each.name for each in report.attacks]
    assert "transfer from network 1" in names
    assert "gradients of the stand-in" in names
    stand_in = next(each for each in report.attacks if each.name == "gradients of the stand-in")
    assert stand_in.accuracy == pytest.approx(report.worst_case, abs=0.02)


def test_an_interruption_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Tensor:
        raise KeyboardInterrupt

    images = grey_images(40)
    monkeypatch.setattr(Square, "_found", interrupted)
    labels = linear()(images).argmax(1)
    eps = distances(linear(), images, labels, "linf").median().item()
    report = quick(linear(), images, labels, eps)
    assert report.interrupted
    assert not report.believable
    assert "interrupted" in str(report)
    assert "APGD, targets" in [each.name for each in report.attacks]
    assert 0 < report.worst_case < 1


IMAGES, LABELS = grey_images(8), torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((IMAGES, LABELS), {}, "eps is missing"),
        ((IMAGES, None, 0.1), {}, "labels are missing"),
        ((IMAGES, LABELS, 8), {}, "eps is 8"),
        ((IMAGES, LABELS, 0), {}, "eps is 0"),
        ((255 * IMAGES, LABELS, 0.1), {}, "pixels range"),
        ((IMAGES, LABELS[:3], 0.1), {}, "labels have shape"),
        ((IMAGES, LABELS + 7, 0.1), {}, "the largest label is 7"),
        ((IMAGES[:0], LABELS[:0], 0.1), {}, "there are no images"),
        (([], None, 0.1), {}, "there are no batches"),
        (([IMAGES], None, 0.1), {}, "batch 0 is a Tensor"),
        ((IMAGES, LABELS, 0.1, "l1"), {}, "norm is 'l1'"),
        ((IMAGES, LABELS, 0.1), {"output": "logits"}, "has no such part"),
        ((IMAGES, LABELS, 0.1), {"sources": linear()}, "sources is one network"),
        ((IMAGES, LABELS, 0.1), {"stand_in": "net"}, "must be a torch.nn.Module"),
        ((IMAGES, LABELS, 0.1), {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_what_cannot_be_audited_is_told(arguments: Any, options: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quick(linear(), *arguments, **options)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda logits: logits * math.nan, "NaN for"),
        (lambda logits: logits[:, 0], "one number for each image"),
        (lambda logits: (logits, logits), "output="),
        (lambda logits: logits - 1e6 * nn.functional.one_hot(LABELS, 5), "reads none of the"),
    ],
)
def test_answers_that_are_no_logits_are_told(answer: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quick(Returning(answer), IMAGES, LABELS, 0.1)


def test_effort_is_one_of_three() -> None:
    with pytest.raises(ValueError, match=r"effort is 'hard'.*quick, standard, thorough"):
        robustnb.audit(linear(), IMAGES, LABELS, 0.1, effort="hard")


def test_passes_are_counted() -> None:
    network = Network(linear())
    network(IMAGES)
    assert network.passes == len(IMAGES)
    report = quick(linear(), IMAGES, linear()(IMAGES).argmax(1), 0.05)
    assert report.passes > sum(each.passes for each in report.attacks) > 0


def test_rules_have_names_of_their_own_and_say_what_to_do() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) > 15
    for rule in RULES:
        assert rule.advice.endswith(".")
        assert rule.source
        assert rule.on(0.9).sentence


class Copies(nn.Module):
    """Ask the last layer for two copies of each image, which answer together."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = linear()

    def forward(self, images: Tensor) -> Tensor:
        both: Tensor = self.linear(images.repeat(2, 1, 1, 1))
        return both.unflatten(0, (2, -1)).mean(0)


def test_copies_of_an_image_within_the_network_are_audited_too() -> None:
    model, images = Copies(), grey_images(50)
    labels = model(images).argmax(1)
    report, other = (quick(each, images, labels, 0.05) for each in (model, model.linear))
    assert report.worst_case == pytest.approx(other.worst_case, abs=0.03)
    assert not report.failures
