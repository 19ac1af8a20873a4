"""Losses that attack first: closed forms, shares, seeds, and what stays as it was."""

import copy
import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch
from certifiable import one_strong_pixel
from scipy.stats import chisquare, kstest
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.black_box import RandomNoise
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.defenses.adversarial_training import Adversarial, InputNoise, Mixture
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.lwta import NegativeELBO, WinnerTakesAll
from robustnb.metrics import accuracy
from robustnb.models import fully_connected, predict
from robustnb.randomness import seeded
from robustnb.training import cross_entropy, fit

Split = tuple[Tensor, Tensor]


def quarters(count: int, seed: int) -> Split:
    """Images whose label is the brightest quarter."""
    images = torch.rand(count, 1, 4, 4, generator=seeded(seed))
    return images, nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)


TRAIN, VALIDATION = quarters(200, 0), quarters(200, 1)
quiet = partial(fit, train=TRAIN, validation=VALIDATION, batch_size=50, patience=None)


def network(stochastic: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layer = partial(BayesianLinear, rho_init=-3.0) if stochastic else nn.Linear
    return fully_connected("FC-16-4", in_features=16, scale=4.0, layer=layer)


def losses(generator: torch.Generator) -> list:
    pgd, noise = PGD(0.1, 0.04, 3), InputNoise(0.1)
    return [
        Adversarial(pgd, generator=generator),
        Adversarial(FGSM(0.1), clean_share=0.5, generator=generator),
        Mixture((pgd, FGSM(0.1), RandomNoise(0.1), noise), generator=generator),
        Adversarial(noise, generator=generator),
    ]


every_loss = pytest.mark.parametrize("index", range(len(losses(seeded(0)))))


@pytest.mark.parametrize("clean_share", [0.0, 0.3])
def test_on_a_linear_network_it_is_the_closed_form(clean_share: float) -> None:
    """Two classes: FGSM takes eps |w_0 - w_1|_1 from the margin, whatever the image."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2)).double()
    images = 0.3 + 0.4 * torch.rand(20, 1, 2, 3, generator=seeded(0), dtype=torch.float64)
    labels, eps = torch.arange(20) % 2, 0.1
    (first, second), bias = model[1].weight.detach(), model[1].bias.detach()
    margins = images.flatten(1) @ (first - second) + bias[0] - bias[1]
    margins = torch.where(labels == 0, margins, -margins)
    attacked = F.softplus(eps * (first - second).abs().sum() - margins).mean()
    expected = (1 - clean_share) * attacked + clean_share * F.softplus(-margins).mean()
    found = Adversarial(FGSM(eps), clean_share)(model, images, labels)
    torch.testing.assert_close(found.detach(), expected)


def test_one_step_of_pgd_is_the_single_step_of_wong_et_al() -> None:
    """Algorithm 3, written anew: start at random within eps, go 1.25 eps, project."""
    model, (images, labels), eps = network(), TRAIN, 0.1
    offset = torch.empty_like(images).uniform_(-eps, eps, generator=seeded(5))
    start = (images + offset).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(start), labels), start)
    moved = (start - images + 1.25 * eps * gradient.sign()).clamp(-eps, eps)
    expected = F.cross_entropy(model((images + moved).clamp(0, 1)), labels)
    loss = Adversarial(PGD(eps, alpha=1.25 * eps, steps=1), generator=seeded(5))
    torch.testing.assert_close(loss(model, images, labels), expected)


def test_the_gradient_does_not_flow_through_the_attack() -> None:
    model, (images, labels) = network(), TRAIN
    Adversarial(FGSM(0.1))(model, images, labels).backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    F.cross_entropy(model(FGSM(0.1)(model, images, labels)), labels).backward()
    for one, parameter in zip(found, model.parameters(), strict=True):
        assert torch.equal(one, parameter.grad)


@every_loss
def test_mode_weights_statistics_and_gradients_stay_as_they_were(index: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Dropout(0.5).eval(), nn.Linear(16, 4)).train()
    images, labels = TRAIN[0][:20].clone(), TRAIN[1][:20]
    F.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    modes, seen = [module.training for module in model.modules()], []

    def watched(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Look at the network where the attack is over and the loss begins."""
        seen.append([module.training for module in model.modules()])
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])
        return images.new_zeros(())

    dataclasses.replace(losses(seeded(0))[index], loss=watched)(model, images, labels)
    assert seen
    assert all(own == modes for own in seen)
    assert torch.equal(images, TRAIN[0][:20])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert parameter.requires_grad


def train(index: int, epochs: int, seed: int = 3, checkpoint: Path | None = None) -> nn.Module:
    model, generator = network(stochastic=True), seeded(seed)
    loss, optimizer = losses(generator)[index], torch.optim.SGD(model.parameters(), 0.1)
    rest = {"optimizer": optimizer, "loss": loss, "generator": generator, "progress": False}
    quiet(model, epochs=epochs, keep="last", checkpoint=checkpoint, **rest)
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@every_loss
def test_one_seed_gives_the_same_bits_also_after_an_interruption(index: int, tmp_path) -> None:
    whole = train(index, 4)
    assert same(whole, train(index, 4))
    assert not same(whole, train(index, 4, seed=4))
    train(index, 2, checkpoint=tmp_path / "run")
    assert same(whole, train(index, 4, checkpoint=tmp_path / "run"))
    with pytest.raises(ValueError, match="is of a training with a different seed"):
        train(index, 4, seed=9, checkpoint=tmp_path / "run")


def test_each_attack_comes_as_often_as_its_share() -> None:
    """Attacks that multiply the images by 1, 2, 3 and 4 tell by the result that it was theirs."""
    attacks = tuple(lambda m, x, y, g, k=k: x * k for k in (1.0, 2.0, 3.0, 4.0))
    mixture = Mixture(attacks, loss=lambda m, x, y: x.sum() - y.sum(), generator=seeded(0))
    ones = torch.full((1,), -1.0)
    count = 4000
    drawn = torch.tensor([mixture(nn.Identity(), ones, ones) for _ in range(count)])
    # A clean minibatch looks like one multiplied by 1.
    found = torch.stack([(drawn == 1 - k).sum() for k in (1.0, 2.0, 3.0, 4.0)])
    expected = count * torch.tensor([5, 1, 1, 1]) / 8
    assert chisquare(found, expected).pvalue > 1e-4


@pytest.mark.parametrize("clean", [0.0, 1.0])
def test_the_extremes_of_a_mixture_are_one_way_only(clean: float) -> None:
    mixture = Mixture((FGSM(0.1),), clean=clean, generator=seeded(0))
    loss = cross_entropy if clean else Adversarial(FGSM(0.1))
    model = network()
    for _ in range(20):
        assert torch.equal(mixture(model, *TRAIN), loss(model, *TRAIN))


def test_input_noise_is_gaussian_and_not_clipped() -> None:
    images = torch.rand(50, 1, 10, 10, generator=seeded(0))
    found = InputNoise(0.3)(nn.Identity(), images, torch.zeros(50), seeded(1))
    assert kstest((found - images).flatten() / 0.3, "norm").pvalue > 1e-3
    assert found.min() < 0
    assert found.max() > 1
    assert torch.equal(InputNoise(0.0)(nn.Identity(), images, torch.zeros(50)), images)


def test_the_attack_draws_from_the_generator_of_the_loss() -> None:
    model, (images, labels) = network(), TRAIN
    noisy = InputNoise(0.2)(model, images, labels, seeded(5))
    expected = F.cross_entropy(model(noisy), labels)
    loss = Adversarial(InputNoise(0.2), generator=seeded(5))
    assert torch.equal(loss(model, images, labels), expected)


def test_it_works_with_the_elbo_of_competing_units() -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 16), WinnerTakesAll(), nn.Linear(16, 4)]
    model, elbo = nn.Sequential(*layers).train(), NegativeELBO(num_images=200)
    loss = Adversarial(PGD(0.1, 0.04, 3), clean_share=0.5, loss=elbo, generator=seeded(0))
    loss(model, *TRAIN).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model[2].divergence is None


def test_adversarial_training_makes_a_network_robust() -> None:
    """Only the strong pixel survives the attack, so that 85% is the best that can be had."""
    train, validation = one_strong_pixel(400, 0), one_strong_pixel(400, 1)
    attack, scores = PGD(0.1, 0.03, 10), []
    for loss in (cross_entropy, Adversarial(PGD(0.1, 0.05, 4), generator=seeded(0))):
        torch.manual_seed(0)
        model = fully_connected("FC-2", in_features=16, scale=10.0)
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        rest = {"epochs": 20, "batch_size": 50, "patience": None, "keep": "last"}
        fit(model, train, validation, loss=loss, optimizer=optimizer, progress=False, **rest)
        found = attack(model, *validation, seeded(1))
        scores.append(accuracy(predict(model, found), validation[1]))
    assert scores[0] < 0.5
    assert scores[1] > 0.8


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Adversarial(FGSM(0.1), clean_share=1.0), "clean_share is 1.0"),
        (lambda: Mixture(()), "with 0 attacks"),
        (lambda: Mixture((FGSM(0.1),), clean=1.1), "clean is 1.1"),
        (lambda: InputNoise(-0.1), "sigma is -0.1"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
