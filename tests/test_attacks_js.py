"""Attacks in the page: the same pictures as those of the Python attacks, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pages import IN_PAGE, add_functions
from playwright.sync_api import Page
from torch import Tensor, nn

from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.models import fully_connected, predict
from robustnb.randomness import initial_weights, seeded
from robustnb.widgets.network import describe, rounded

if TYPE_CHECKING:
    from browser import Visit

pytest_plugins = ["browser"]

Attack = Callable[..., Tensor]
SHAPE = (1, 28, 28)

# `random` is a list of numbers to give out, or a seed.
RUN = """([name, { network, blobs }, images, labels, options]) => {
  const losses = { "cross-entropy": crossEntropyGradient, margin: marginGradient };
  const loaded = loadNetwork(network, blobs);
  const random = Array.isArray(options.random)
    ? listed(options.random)
    : options.random === undefined ? null : randomGenerator(options.random);
  const settings = { ...options, random, loss: losses[options.loss ?? "cross-entropy"] };
  return images.map((image, i) =>
    Array.from(finished(ATTACKS[name](loaded, Float32Array.from(image), labels[i], settings))));
}"""


@pytest.fixture(scope="module")
def page(visit: Visit) -> Iterator[Page]:
    with visit("about:blank") as blank:
        add_functions(blank, IN_PAGE)
        yield blank


def network(kind: str) -> nn.Module:
    with initial_weights(0):
        if kind == "FC":
            return fully_connected("FC-30-20-10")
        features = [nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*features, nn.Flatten(), nn.Linear(144, 10)).eval()


def targets(model: nn.Module, count: int = 6) -> tuple[Tensor, Tensor]:
    """Return images on a black ground, as digits are, and the labels that the model gives them."""
    images = torch.rand(count, *SHAPE, generator=seeded(1)) * 1.6 - 0.6
    images = images.clamp(0, 1)
    return images, predict(model, images).argmax(1)


def in_page(
    page: Page, name: str, model: nn.Module, images: Tensor, labels: Tensor, **options: Any
) -> Tensor:
    described = describe(model, SHAPE)._asdict()
    arguments = [name, described, images.flatten(1).tolist(), labels.tolist(), options]
    return torch.tensor(page.evaluate(RUN, arguments)).view_as(images)


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
@pytest.mark.parametrize("kind", ["FC", "convolution"])
def test_gradient_attacks_give_the_picture_of_python(page: Page, kind: str, loss: Any) -> None:
    model = rounded(network(kind))
    images, labels = targets(model)
    for eps in (0.0, 0.1, 0.3):
        expected = FGSM(eps, loss=loss)(model, images, labels)
        found = in_page(page, "fgsm", model, images, labels, eps=eps, loss=loss)
        assert (found - expected).abs().max() < 1 / 255
        settings = {"eps": eps, "alpha": eps / 4, "steps": 10, "loss": loss}
        expected = PGD(**settings, random_start=False)(model, images, labels)
        found = in_page(page, "pgd", model, images, labels, **settings)
        assert (found - expected).abs().max() < 1 / 255


def test_pgd_from_the_same_random_start(page: Page) -> None:
    model = rounded(network("FC"))
    images, labels = (each[:1] for each in targets(model))
    eps = 0.15
    noise = torch.empty_like(images).uniform_(-eps, eps, generator=seeded(4))
    start = ((noise / eps + 1) / 2).flatten().tolist()
    settings = {"eps": eps, "alpha": 0.04, "steps": 5}
    expected = PGD(**settings)(model, images, labels, seeded(4))
    found = in_page(page, "pgd", model, images, labels, **settings, random=start)
    assert (found - expected).abs().max() < 1 / 255


@pytest.mark.parametrize("kind", ["FC", "convolution"])
@pytest.mark.parametrize("settings", [{}, {"c": 0.5, "alpha": 0.1, "steps": 7}])
def test_the_smallest_perturbation_is_that_of_python(
    page: Page, kind: str, settings: dict[str, Any]
) -> None:
    model = rounded(network(kind))
    images, labels = targets(model)
    labels[0] = (labels[0] + 1) % 10  # misclassified already: it stays as it is
    expected = MinimumNorm(**settings)(model, images, labels)
    found = in_page(page, "minimumNorm", model, images, labels, **settings)
    assert (found - expected).abs().max() < 1 / 255
    assert found[0].equal(images[0])
    assert not found[1].equal(images[1])


def test_attacks_stay_in_the_ball_and_in_the_pixel_range(page: Page) -> None:
    model = network("FC")
    images, labels = targets(model)
    for name, options in (("fgsm", {}), ("pgd", {"alpha": 0.1, "steps": 6, "random": 3})):
        found = in_page(page, name, model, images, labels, eps=0.2, **options)
        assert (found - images).abs().max() <= 0.2 + 1e-6
        assert found.min() >= 0
        assert found.max() <= 1
        assert (predict(model, found).argmax(1) != labels).any()


def test_a_gradient_of_many_draws_approaches_that_of_the_expected_loss(page: Page) -> None:
    with initial_weights(0):
        model = fully_connected("FC-8-4", in_features=16, layer=BayesianLinear)
    image = torch.rand(1, 4, 4, generator=seeded(0))
    gradient = """([{ network, blobs }, image, eotSamples]) =>
      Array.from(finished(averagedGradient(
        loadNetwork(network, blobs), Float32Array.from(image), 1,
        { random: randomGenerator(5), eotSamples },
      )))"""
    arguments = [describe(model, (1, 4, 4))._asdict(), image.flatten().tolist(), 4000]
    found = torch.tensor(page.evaluate(gradient, arguments))
    many = image.repeat(1, 1, 1, 1).requires_grad_()
    same = rounded(model)
    labels = torch.tensor([1])
    draws = [
        torch.autograd.grad(nn.functional.cross_entropy(same(many), labels), many)[0].flatten()
        for _ in range(4000)
    ]
    expected = torch.stack(draws)
    error = expected.std(0) / len(draws) ** 0.5
    assert ((found - expected.mean(0)).abs() < 6 * error).all()


def test_a_seed_gives_its_attack_again(page: Page) -> None:
    model = network("FC")
    images, labels = targets(model, 1)
    settings = {"eps": 0.1, "alpha": 0.001, "steps": 1}
    first, second, again = (
        in_page(page, "pgd", model, images, labels, **settings, random=seed) for seed in (1, 2, 1)
    )
    assert first.equal(again)
    assert not first.equal(second)
