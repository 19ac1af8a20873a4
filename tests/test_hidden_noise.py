"""Noise from generators that cannot be found is told, and generators that can are not copied."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import PGD
from robustnb.attacks.line_search import FastGradientSign
from robustnb.checks import NotFinite
from robustnb.models import copied
from robustnb.random_sources import held_generators
from robustnb.randomness import initial_weights, seeded

IMAGES, LABELS = torch.rand(8, 1, 4, 4, generator=seeded(0)), torch.arange(8) % 3
ATTACKS = [PGD(0.1, 0.05, 2), APGD(0.1, steps=2)]


class Noisy(nn.Module):
    """Add a number that is drawn from a generator inside a list, or from a hidden one."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.rng = [] if hidden else [rng]
        self.draw = rng.standard_normal if hidden else lambda: self.rng[0].standard_normal()

    def forward(self, images: Tensor) -> Tensor:
        return images + self.draw() * images.flip(0)


def network(first: nn.Module) -> nn.Sequential:
    with initial_weights(0):
        return nn.Sequential(first, nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attack", ATTACKS)
def test_hidden_noise_is_told_once(attack: Any, dtype: torch.dtype) -> None:
    model, images = network(Noisy(hidden=True)).to(dtype), IMAGES.to(dtype)
    with pytest.warns(UserWarning, match="draws from a generator that cannot be found"):
        attack(model, images, LABELS, seeded(0))
    with warnings.catch_warnings(action="error"):
        attack(model, images, LABELS, seeded(0))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("first", [nn.Identity(), Noisy()], ids=["none", "found"])
def test_other_networks_are_attacked_without_a_word(attack: Any, first: nn.Module) -> None:
    with warnings.catch_warnings(action="error"):
        attack(network(first), IMAGES, LABELS, seeded(0))


@pytest.mark.parametrize("attack", ATTACKS)
def test_asking_changes_no_draw(attack: Any) -> None:
    """A network is asked at its first attack alone, and the second finds the same."""
    model, found = network(Noisy()), []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(attack(model, IMAGES, LABELS, seeded(0)))
        found.append(torch.rand(3))
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])


@pytest.mark.parametrize("attack", ATTACKS)
def test_nan_is_counted_over_all_images(attack: Any) -> None:
    class Root(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (images.flatten(1) - 0.5).sqrt()[:, :3]

    images = torch.zeros(100, 1, 4, 4)
    with pytest.raises(NotFinite, match="100 of 100 images"):
        attack(Root(), images, torch.zeros(100).long(), seeded(0))


def test_a_copy_in_float64_draws_from_the_same_generators() -> None:
    """The attack draws for one gradient and then for each step, as without `double`."""
    numbers = []
    for double in (False, True):
        model = network(Noisy())
        FastGradientSign(double=double)(model, IMAGES, LABELS)
        numbers.append(model[0].rng[0].bit_generator.state["state"]["state"])
    assert numbers[0] == numbers[1]


def test_a_copy_shares_what_is_told_and_nothing_else() -> None:
    model = network(Noisy())
    (rng,) = held_generators(model)
    one, other = copied(model), copied(model, shared=[rng])
    assert one[0].rng[0] is not rng  # type: ignore[index]
    assert other[0].rng[0] is rng  # type: ignore[index]
    assert other[2].weight is not model[2].weight  # type: ignore[index]
