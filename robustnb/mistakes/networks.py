"""The small networks of the exhibits, each trained in a second or two."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from robustnb.dropout import Dropout
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Split, fit

MEAN, STD = 0.1307, 0.3081  # of the pixels of MNIST's training images, from 0 to 1


class Normalise(nn.Module):
    """Take images in [0, 1] to mean 0 and standard deviation 1, as most recipes for MNIST do."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images."""
        return (images - MEAN) / STD

    def back(self, normalised: Tensor) -> Tensor:
        """Return the images in [0, 1]."""
        return normalised * STD + MEAN


def plain() -> nn.Sequential:
    """Build FC-100-100-10."""
    return fully_connected("FC-100-100-10")


def normalising() -> nn.Sequential:
    """Build a network whose first layer normalises; the second part is the rest."""
    return nn.Sequential(Normalise(), plain())


def with_modes() -> nn.Sequential:
    """Build a network that is another one in training mode: batch normalisation and dropout."""
    hidden = [nn.Linear(784, 200), nn.BatchNorm1d(200), nn.ReLU(), Dropout()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(200, 10))


def masking() -> nn.Sequential:
    """Build a network that sees one pixel of five, drawn anew at each look."""
    return nn.Sequential(_AlwaysDropout(0.8), plain())


def trained(
    build: Callable[[], nn.Module], train: Split, validation: Split, seed: int = 0, epochs: int = 6
) -> nn.Module:
    """Build a network and train it by Adam, without early stopping."""
    with initial_weights(seed):
        network = build()
    fit(
        *(network, train, validation),
        optimizer=torch.optim.Adam(network.parameters(), 2e-3),
        epochs=epochs,
        patience=None,
        keep="last",
        generator=seeded(seed),
        progress=False,
    )
    return network


def candidates(train: Split, validation: Split, seed: int = 0, number: int = 20) -> list[nn.Module]:
    """Train small networks that differ in nothing but their random numbers."""
    build = partial(fully_connected, "FC-32-10")
    seeds = range(number * seed, number * (seed + 1))
    return [trained(build, train, validation, each, epochs=2) for each in seeds]


class _AlwaysDropout(Dropout):
    """Drop in evaluation mode, too."""

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept / (1 - self.p)
