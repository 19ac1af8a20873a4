"""Generators: seeds of any integer type, and networks that draw from torch's global generator."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.models import predict
from robustnb.randomness import noise_from, only_torch_draws, seeded

IMAGES = torch.zeros(6, 1, 2, 2)


class Global(nn.Module):
    """A network that draws from torch's global generator, in evaluation mode too."""

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        x = F.dropout(x + torch.randn_like(x), 0.5, training=True)
        return torch.roll(x, int(torch.randint(4, ())), 1)


def answers(generator: torch.Generator, passes: int = 1) -> Tensor:
    with noise_from(Global(), generator):
        return torch.cat([predict(Global(), IMAGES) for _ in range(passes)])


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), torch.tensor(3), 3])
def test_a_seed_is_any_whole_number(seed: int) -> None:
    assert torch.equal(torch.rand(5, generator=seeded(seed)), torch.rand(5, generator=seeded(3)))


@pytest.mark.parametrize("seed", [3.0, "3", None])
def test_a_seed_that_is_not_whole_is_named(seed: int) -> None:
    with pytest.raises(ValueError, match=r"^seed is .*: it must be a whole number\."):
        seeded(seed)


def test_one_generator_gives_one_result_and_each_pass_its_own_noise() -> None:
    torch.manual_seed(1)
    first = answers(seeded(5), 2)
    torch.manual_seed(2)
    again, other = answers(seeded(5), 2), answers(seeded(6), 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(*first.split(6))


def test_the_noise_is_what_torch_draws() -> None:
    """Half of the numbers are dropped, and the others doubled."""
    drawn = answers(seeded(0), 2000)
    assert (drawn == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn[drawn != 0].std().item() == pytest.approx(2.0, rel=0.02)


def test_the_global_state_stays_as_it_was() -> None:
    before = torch.get_rng_state()
    answers(seeded(0))
    assert torch.equal(torch.get_rng_state(), before)
    with suppress(ZeroDivisionError), noise_from(Global(), seeded(0)):
        torch.rand(1)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), before)


def test_the_generator_moves_only_where_something_drew_globally() -> None:
    """So that the draws of what takes a generator are those that they have always been."""
    generator = seeded(0)
    with noise_from(Global(), generator) as noise:
        drawn = torch.rand(3, generator=generator)
    assert not noise.drawn_globally
    assert torch.equal(drawn, torch.rand(3, generator=seeded(0)))
    assert torch.equal(generator.get_state(), state_after(3))
    first, second = answers(generator), answers(generator)
    assert not torch.equal(first, second)
    with noise_from(Global(), generator) as noise:
        predict(Global(), IMAGES)
    assert noise.drawn_globally


def state_after(draws: int) -> Tensor:
    generator = seeded(0)
    torch.rand(draws, generator=generator)
    return generator.get_state()


def test_without_a_generator_draws_are_the_global_ones() -> None:
    torch.manual_seed(4)
    with noise_from(Global(), None):
        drawn = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(drawn, torch.rand(3))


def test_the_global_generator_may_be_handed_in() -> None:
    torch.manual_seed(4)
    first = answers(torch.default_generator)
    assert not torch.equal(answers(torch.default_generator), first)
    torch.manual_seed(4)
    assert torch.equal(answers(torch.default_generator), first)


@pytest.mark.parametrize("draw", [random.random, np.random.random])
def test_draws_of_python_and_numpy_cannot_be_repeated(draw) -> None:
    with pytest.raises(ValueError, match="Python's or NumPy's"), only_torch_draws():
        draw()
    with only_torch_draws():
        torch.rand(1)
