"""The worst case of a linear classifier: closed forms, and what attacks reach and train."""

import copy

import pytest
import torch
from certifiable import batch, dense
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import FGSM, PGD
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.defenses.linear_worst_case import LinearWorstCase
from robustnb.models import Scale
from robustnb.randomness import seeded
from robustnb.training import fit


def linear(classes: int = 2, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(Scale(3.0), nn.Flatten(), nn.Linear(6, classes)).double()


def split(count: int = 40, classes: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw images, also near 0 and 1, and labels that a linear network can learn in part."""
    images = torch.rand(count, 1, 2, 3, generator=seeded(seed), dtype=torch.float64)
    return images, images.flatten(1)[:, :classes].argmax(1)


def test_it_takes_eps_times_the_l1_norm_from_the_margin() -> None:
    model, (images, labels) = linear(), split()
    images = 0.2 + 0.6 * images
    (first, second), bias = 3 * model[2].weight.detach(), model[2].bias.detach()
    margins = images.flatten(1) @ (first - second) + bias[0] - bias[1]
    margins = torch.where(labels == 0, margins, -margins)
    expected = F.softplus(0.2 * (first - second).abs().sum() - margins).mean()
    torch.testing.assert_close(LinearWorstCase(0.2)(model, images, labels).detach(), expected)


@pytest.mark.parametrize("attack", [FGSM(0.2), PGD(0.2, 0.05, 20), PGD(0.2, 0.25, 4)])
def test_with_two_classes_attacks_reach_it_and_give_its_gradient(attack) -> None:
    """Some pixels would leave [0, 1]. The gradient is that at the worst image (Danskin)."""
    model, (images, labels) = linear(), split()
    gradients = []
    for loss in (LinearWorstCase(0.2), Adversarial(attack, generator=seeded(0))):
        model.zero_grad()
        value = loss(model, images, labels)
        value.backward()
        gradients.append([value.detach(), *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_with_three_classes_it_is_a_bound() -> None:
    model, (images, labels) = linear(3), split(classes=3)
    found = LinearWorstCase(0.2)(model, images, labels)
    reached = Adversarial(PGD(0.2, 0.05, 40), generator=seeded(0))(model, images, labels)
    assert reached < found < reached + 0.2


def test_linear_layers_in_a_row_are_one() -> None:
    model, (images, labels) = linear(), split()
    twice = nn.Sequential(*model[:2], nn.Linear(6, 5), nn.Linear(5, 2)).double()
    one = copy.deepcopy(model)
    one[2].weight.data = twice[3].weight.data @ twice[2].weight.data
    one[2].bias.data = twice[3].weight.data @ twice[2].bias.data + twice[3].bias.data
    found = [LinearWorstCase(0.1)(m, images, labels).detach() for m in (one, twice)]
    torch.testing.assert_close(*found)


def test_training_on_it_is_training_on_attacked_images() -> None:
    """In float64 both ways take the same steps, up to rounding."""
    trained = []
    for loss in (LinearWorstCase(0.1), Adversarial(PGD(0.1, 0.05, 10), generator=seeded(1))):
        model = linear()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        rest = {"epochs": 5, "batch_size": 10, "keep": "last", "progress": False}
        fit(model, split(), split(seed=1), loss=loss, optimizer=optimizer, **rest)
        trained.append(model[2].weight.detach())
    torch.testing.assert_close(*trained, rtol=1e-6, atol=1e-8)
    assert not torch.allclose(trained[0], linear()[2].weight, atol=1e-2)


def test_what_it_does_not_take_is_named() -> None:
    model = dense(6, 4, 2)
    with pytest.raises(ValueError, match="has a ReLU: this bound takes"):
        LinearWorstCase(0.1)(model, *batch(model, 1, 2, 3))
    with pytest.raises(ValueError, match="divide by 255"):
        LinearWorstCase(8)
