"""The fakes are worth catching: they cost few answers, and a naive attacker believes them."""

from functools import cache

import pytest
import torch
from fakes import (
    FAKES,
    ColdSampling,
    Fake,
    GradientKiller,
    InputQuantiser,
    NoiseDetector,
    total_variation,
    undefended,
)
from torch import Tensor, nn

from robustnb.attacks.gradient import PGD
from robustnb.attacks.stand_in import BPDA
from robustnb.data import load
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded

NAIVE = PGD(eps=0.1, alpha=0.025, steps=10)
IMAGES, LABELS = load("digits").split("test")


def right(model: nn.Module, images: Tensor) -> float:
    """Return the accuracy of single draws, the mean over ten."""
    with noise_from(model, seeded(1)):
        draws = [accuracy(predict(model, images), LABELS) for _ in range(10)]
    return sum(draws) / len(draws)


@cache
def judged_naively(kind: type[Fake]) -> tuple[float, float]:
    """Return the accuracy on clean images and on those of the naive attack."""
    model = kind(undefended()).eval()
    return right(model, IMAGES), right(model, NAIVE(model, IMAGES, LABELS, seeded(0)))


class Plain(Fake):
    """Pretend nothing."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def test_the_network_behind_is_good_and_not_robust() -> None:
    clean, robust = judged_naively(Plain)
    assert clean > 0.95
    assert robust < 0.3


@pytest.mark.parametrize("kind", FAKES)
@pytest.mark.filterwarnings("ignore:The gradient is exactly 0", "ignore:The network's outputs")
def test_a_fake_costs_few_answers_and_fools_the_naive_attacker(kind: type[Fake]) -> None:
    clean, robust = judged_naively(kind)
    plain_clean, plain_robust = judged_naively(Plain)
    assert clean >= plain_clean - 0.03
    assert robust >= plain_robust + 0.1


@pytest.mark.parametrize("kind", [GradientKiller, InputQuantiser, ColdSampling, NoiseDetector])
@pytest.mark.filterwarnings("ignore:The network's outputs")
def test_through_a_stand_in_the_naive_attack_sees_what_is_hidden(kind: type[Fake]) -> None:
    model = kind(undefended()).eval()
    found = BPDA(NAIVE)(model, IMAGES, LABELS, seeded(0))
    assert right(model, found) <= judged_naively(Plain)[1] + 0.05


@pytest.mark.parametrize("kind", FAKES)
def test_a_fake_keeps_the_weights_and_says_what_it_pretends(kind: type[Fake]) -> None:
    network = undefended()
    fake = kind(network)
    assert list(fake.parameters()) == list(network.parameters())
    assert (fake.__doc__ or "").startswith("Pretend")
    assert "20" in (fake.__doc__ or "")  # the year of a paper


def test_the_detector_smells_what_an_attack_starts_from() -> None:
    detector = NoiseDetector(undefended())
    noisy = IMAGES + torch.empty_like(IMAGES).uniform_(-0.1, 0.1, generator=seeded(0))
    assert not (total_variation(IMAGES) > detector.most).any()
    assert (total_variation(noisy.clamp(0, 1)) > detector.most).float().mean() > 0.9
