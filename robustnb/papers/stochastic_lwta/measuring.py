"""How the networks of Kaspar, Hicheur & Bourdrez (2024) are attacked, judged and certified."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.defenses.pni import coefficients
from robustnb.defenses.smoothing import certify
from robustnb.devices import device
from robustnb.judging import Judged, attacker_draws, judge, passes
from robustnb.models import predict
from robustnb.papers.images import Images
from robustnb.papers.stochastic_lwta.training import Trained
from robustnb.randomness import noise_from, seeded


@contextmanager
def noise_off(model: nn.Module) -> Iterator[None]:
    """Switch the injected noise of `model` off inside the block."""
    before = {alpha: alpha.detach().clone() for alpha in coefficients(model).values()}
    for alpha in before:
        alpha.data.zero_()
    try:
        yield
    finally:
        for alpha, value in before.items():
            alpha.data.copy_(value)


@dataclass(frozen=True)
class NoiseOff:
    """Make `attack` while the injected noise is off: what it finds is for the true network."""

    attack: Attack

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what the attack finds, of the shape of `images` (N, C, H, W)."""
        with noise_off(model):
            return self.attack(model, images, labels, generator)


def attack_and_judge(
    network: Trained,
    attack: Attack | None,
    source: Trained | None,
    images: Images,
    draws: int,
    seed: int,
    is_noise_off: bool = False,
) -> Judged:
    """Attack a network, and judge it by draws that the attacker does not have.

    The attack is made on the network itself, or on `source` if there is one. With `is_noise_off`
    the injected noise is off all the time.
    """
    model = network.model.to(device())
    pictures, labels = images.load()
    with noise_off(model) if is_noise_off else nullcontext():
        if attack is not None:
            attacked = model if source is None else source.model.to(device())
            pictures = attack(attacked, pictures, labels, attacker_draws(seed))
        return judge(passes(model), pictures, labels, draws, seed)


@dataclass(frozen=True)
class Answers:
    """The class probabilities (N, classes) of one pass over images, and their labels (N,)."""

    probabilities: Tensor
    labels: Tensor


def answers(network: Trained, images: Images, seed: int) -> Answers:
    """Return what a network answers to clean images."""
    model = network.model.to(device())
    pictures, labels = images.load()
    with noise_from(model, seeded(seed, device())):
        probabilities = predict(model, pictures, batch_size=500).softmax(1)
    return Answers(probabilities.cpu(), labels.cpu())


@dataclass(frozen=True)
class Certified:
    """Whether the smoothed network reads an image rightly (N,), and within which radius (N,)."""

    right: Tensor
    radii: Tensor


def certificates(
    network: Trained, images: Images, sigma: float, draws: int, seed: int
) -> Certified:
    """Certify a network under Gaussian noise of standard deviation `sigma` (Cohen et al. 2019)."""
    pictures, labels = images.load()
    classes, radii = certify(
        *(network.model.to(device()), pictures, sigma),
        n0=max(draws // 10, 1),
        n=draws,
        generator=seeded(seed, device()),
    )
    return Certified((classes == labels).cpu(), radii.cpu())
