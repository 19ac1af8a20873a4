"""TRADES: divergences of torch's own, the published algorithm, finite differences, its effect."""

import copy

import pytest
import torch
from certifiable import dense, one_strong_pixel
from finite_difference import assert_gradients_are_slopes
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from robustnb.attacks.gradient import PGD
from robustnb.defenses.adversarial_training import InputNoise
from robustnb.defenses.trades import TRADES, DivergencePGD, divergence
from robustnb.metrics import accuracy
from robustnb.models import fully_connected, predict
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit


def images_and_labels(count: int = 20) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 1, 2, 3, generator=seeded(0), dtype=torch.float64)
    return images, torch.arange(count) % 3


def network() -> nn.Module:
    return dense(6, 5, 3).double()


def torchs_divergence(model: nn.Module, images: Tensor, others: Tensor) -> Tensor:
    one, other = (Categorical(logits=model(x)) for x in (images, others))
    return kl_divergence(one, other)


def test_the_divergence_is_torch_s_own() -> None:
    logits = 5 * torch.randn(2, 50, 4, generator=seeded(0), dtype=torch.float64)
    found = divergence(*logits)
    torch.testing.assert_close(found, kl_divergence(*(Categorical(logits=z) for z in logits)))
    torch.testing.assert_close(divergence(logits[0], logits[0] + 7), torch.zeros(50).double())


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_the_loss_is_its_definition(beta: float) -> None:
    model, (images, labels) = network(), images_and_labels()
    attack = DivergencePGD(0.1, 0.03, 5)
    attacked = attack(model, images, labels, seeded(1))
    expected = F.cross_entropy(model(images), labels)
    expected = expected + beta * torchs_divergence(model, images, attacked).mean()
    found = TRADES(attack, beta, generator=seeded(1))(model, images, labels)
    torch.testing.assert_close(found, expected)


def test_its_gradient_flows_through_both_answers() -> None:
    model, (images, labels) = network(), images_and_labels()
    attacked = DivergencePGD(0.1, 0.03, 5)(model, images, labels, seeded(1))
    loss = TRADES(lambda *_: attacked)
    assert_gradients_are_slopes(lambda: loss(model, images, labels), model)


def test_it_goes_where_the_published_algorithm_goes() -> None:
    """Algorithm 1, written anew with torch's own divergence, from the same first offset."""
    model, (images, labels) = network(), images_and_labels()
    start = torch.empty_like(images).normal_(0, 0.001, generator=seeded(2))
    expected = (images + start).clamp(0, 1)
    for _ in range(7):
        expected = expected.detach().requires_grad_()
        loss = torchs_divergence(model, images.detach(), expected).sum()
        (gradient,) = torch.autograd.grad(loss, expected)
        expected = expected + 0.03 * gradient.sign()
        expected = torch.min(torch.max(expected, images - 0.1), images + 0.1).clamp(0, 1)
    found = DivergencePGD(0.1, 0.03, 7)(model, images, labels, seeded(2))
    torch.testing.assert_close(found, expected.detach())


def test_it_raises_the_divergence_far_above_that_of_noise() -> None:
    model, (images, labels) = network(), images_and_labels()
    found = DivergencePGD(0.1, 0.03, 10)(model, images, labels, seeded(0))
    assert ((found - images).abs() <= 0.1 + 1e-12).all()
    noisy = (images + 0.1 * torch.randn(images.shape, generator=seeded(1)).sign()).clamp(0, 1)
    climbed, drawn = (torchs_divergence(model, images, x).mean() for x in (found, noisy))
    assert climbed > 2 * drawn


def test_the_network_stays_as_it_was_under_attack() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers).train()
    images, labels = images_and_labels()
    before = copy.deepcopy(model.state_dict())
    DivergencePGD(0.1, 0.03, 3)(model, images.float(), labels)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_more_beta_makes_a_network_more_robust() -> None:
    """Only the strong pixel survives the attack, so that 85% is the best that can be had."""
    train, validation = one_strong_pixel(400, 0), one_strong_pixel(400, 1)
    attack, robust = PGD(0.1, 0.03, 10), []
    for beta in (0.0, 6.0):
        with initial_weights(0):
            model = fully_connected("FC-2", in_features=16, scale=10.0)
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        loss = TRADES(DivergencePGD(0.1, 0.05, 4), beta, generator=seeded(0))
        rest = {"epochs": 20, "batch_size": 50, "patience": None, "keep": "last"}
        fit(model, train, validation, loss=loss, optimizer=optimizer, progress=False, **rest)
        found = attack(model, *validation, seeded(1))
        robust.append(accuracy(predict(model, found), validation[1]))
    assert robust[0] < 0.5
    assert robust[1] > 0.8


def test_any_attack_may_stand_inside() -> None:
    model, (images, labels) = network(), images_and_labels()
    noisy = InputNoise(0.1)(model, images, labels, seeded(3))
    found = TRADES(InputNoise(0.1), 2.0, seeded(3))(model, images, labels)
    expected = F.cross_entropy(model(images), labels)
    expected = expected + 2 * torchs_divergence(model, images, noisy).mean()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: DivergencePGD(8, 0.1, 1), "divide by 255"),
        (lambda: DivergencePGD(0.1, -1.0, 1), "alpha is -1.0"),
        (lambda: DivergencePGD(0.1, 0.1, 0), "steps is 0"),
        (lambda: TRADES(DivergencePGD(0.1, 0.1, 1), beta=-1.0), "beta is -1.0"),
    ],
)
def test_wrong_settings_are_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
