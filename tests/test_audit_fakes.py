"""The audit sees through networks that only pretend, and lets those be that do not."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from fakes import FAKES, Fake, trained, undefended
from torch import Tensor, nn

import robustnb
from robustnb.attacks.gradient import PGD
from robustnb.auditing.report import Report
from robustnb.data import load
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.randomness import seeded
from robustnb.training import cross_entropy

EPS, NEAR = 0.1, 0.03
# What each fake must at least be told for; "believable" is that no alarm was raised.
SIGNS = {
    "GradientKiller": "a stand-in beats the network's own gradients",
    "InputNoise": "random outputs",
    "ConfidenceSaturator": "cross-entropy underflows",
    "LogitOffset": "attacks depend on the scale of the logits",
    "ColdSampling": "outputs are probabilities",
    "InputQuantiser": "zero gradients",
    "RandomResizePad": "random outputs",
    "NoiseDetector": "zero gradients",
}


@cache
def images() -> tuple[Tensor, Tensor]:
    return load("digits").split("test", 120)


def audited(model: nn.Module) -> Report:
    return robustnb.audit(model, *images(), EPS, effort="quick", progress=False)


@cache
def undefended_worst() -> float:
    return audited(undefended()).worst_case


@pytest.mark.parametrize("fake", FAKES, ids=lambda fake: fake.__name__)
def test_a_fake_is_flagged_and_falls(fake: type[Fake]) -> None:
    """It falls to the network that it wraps, at the latest where the attacker may try again."""
    report = audited(fake(undefended()))
    assert report.clean > 0.9
    assert SIGNS[fake.__name__] in [sign.rule.name for sign in report.raised]
    fell = min(report.worst_case, report.every_draw) <= undefended_worst() + NEAR
    assert fell or not report.believable, str(report)
    if fake.__name__ not in ("InputNoise", "RandomResizePad", "ColdSampling"):
        assert report.worst_case <= undefended_worst() + NEAR


class Smoothed(nn.Module):
    """Answer by the mean logits of noisy copies of an image (Cohen et al. 2019)."""

    def __init__(self, network: nn.Module, sigma: float = 0.25, copies: int = 4) -> None:
        super().__init__()
        self.network, self.sigma, self.copies = network, sigma, copies

    def forward(self, images: Tensor) -> Tensor:
        many = images.repeat(self.copies, 1, 1, 1)
        logits: Tensor = self.network(many + self.sigma * torch.randn_like(many))
        return logits.view(self.copies, len(images), -1).mean(0)


def noisy_cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(model, images + 0.25 * torch.randn_like(images), labels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: trained(cross_entropy),
        lambda: trained(Adversarial(PGD(EPS, EPS / 4, 7), generator=seeded(1))),
        lambda: Smoothed(trained(noisy_cross_entropy)),
    ],
    ids=["plain", "adversarially trained", "smoothed"],
)
def test_a_network_that_does_not_pretend_raises_no_alarm(make: Callable[[], nn.Module]) -> None:
    report = audited(make())
    assert report.believable, str(report)
    assert report.clean > 0.75  # adversarial training on 1,000 digits costs some
