"""Generators: seeds of any integer type, and networks that draw from torch's global generator."""

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.models import predict
from robustnb.randomness import noise_from, seeded

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
    assert not noise.any
    assert torch.equal(drawn, torch.rand(3, generator=seeded(0)))
    assert torch.equal(generator.get_state(), state_after(3))
    first, second = answers(generator), answers(generator)
    assert not torch.equal(first, second)
    with noise_from(Global(), generator) as noise:
        predict(Global(), IMAGES)
    assert noise.any


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


class Held(nn.Module):
    """A network that draws from a generator of its own, or from NumPy's or Python's global one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rng: Any = {
            "torch": seeded,
            "numpy": np.random.default_rng,
            "mersenne": lambda seed: np.random.Generator(np.random.MT19937(seed)),
            "legacy": np.random.RandomState,
            "python": random.Random,
            "in a list": lambda seed: [{"rng": random.Random(seed)}],
        }.get(kind, str)(3)
        self.kind = kind

    def draw(self) -> float:
        match self.kind:
            case "torch":
                return torch.randn((), generator=self.rng).item()
            case "numpy's":
                return np.random.standard_normal()  # noqa: NPY002
            case "python's":
                return random.gauss()
            case "python":
                return self.rng.gauss()
            case "in a list":
                return self.rng[0]["rng"].gauss()
            case _:
                return float(self.rng.standard_normal())

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) + self.draw()


KINDS = ["torch", "numpy", "mersenne", "legacy", "python", "in a list", "numpy's", "python's"]


@pytest.mark.parametrize("kind", KINDS)
def test_generators_that_a_network_keeps_are_seeded_and_given_back(kind: str) -> None:
    model, untouched = nn.Sequential(Held(kind)), Held(kind)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = [untouched.draw() for _ in range(3)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    drawn = [model[0].draw()]  # a legacy generator and Python's keep a second number for later

    def answers_of(seed: int) -> Tensor:
        with noise_from(model, seeded(seed)) as noise:
            two = torch.cat([predict(model, IMAGES) for _ in range(2)])
        assert noise.any
        return two

    first, again, other = answers_of(5), answers_of(5), answers_of(6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(*first.split(6))
    assert [*drawn, model[0].draw(), model[0].draw()] == expected


def test_the_numbers_of_a_networks_own_generator_are_of_its_kind() -> None:
    model = Held("numpy")
    with noise_from(model, seeded(0)):
        drawn = np.array([model.draw() for _ in range(5000)])
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_bits_alone_and_a_list_that_holds_itself_are_found_and_passed() -> None:
    model, own = nn.Module(), [np.random.PCG64(3)]
    own.append(own)
    model.own = own
    with noise_from(model, seeded(0)):
        np.random.Generator(own[0]).random()
    assert np.random.Generator(own[0]).random() == np.random.default_rng(3).random()


def test_generators_that_share_a_state_and_one_without_are_no_trouble() -> None:
    model, bits = nn.Module(), np.random.PCG64(3)
    model.one, model.other = np.random.Generator(bits), np.random.Generator(bits)
    model.system = random.SystemRandom()
    expected = np.random.default_rng(3).random()
    with noise_from(model, seeded(0)):
        model.one.random()
    assert model.other.random() == expected
