"""Networks that only pretend to be robust: each wraps a trained one and hides its gradient.

What each pretends is known from the papers that saw through it: Carlini & Wagner (2017, "Towards
Evaluating the Robustness of Neural Networks" and "Adversarial Examples Are Not Easily Detected"),
Athalye, Carlini & Wagner (2018) and Tramer, Carlini, Brendel & Madry (2020).
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.data import load
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, fit


class Fake(nn.Module):
    """Wrap a trained network, whose weights stay as they are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()


class GradientKiller(Fake):
    """Pretend that the logits do not depend on the image: shattered gradients (Athalye 2018)."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.detach()) + 0 * images.flatten(1).sum(1, keepdim=True)


class InputNoise(Fake):
    """Pretend that noise protects: each pixel is lost by lot, anew in each pass (Athalye 2018)."""

    def __init__(self, network: nn.Module, lost: float = 0.4) -> None:
        super().__init__(network)
        self.lost = lost

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images * (torch.rand_like(images) > self.lost))


class ConfidenceSaturator(Fake):
    """Pretend to be sure, so that the cross-entropy underflows (Carlini & Wagner 2017)."""

    def __init__(self, network: nn.Module, factor: float = 1e4) -> None:
        super().__init__(network)
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.network(images)


class LogitOffset(Fake):
    """Pretend a wide margin: a constant is added to the largest logit (Tramer et al. 2020)."""

    def __init__(self, network: nn.Module, offset: float = 1e3) -> None:
        super().__init__(network)
        self.offset = offset

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        return logits + self.offset * F.one_hot(logits.argmax(1), logits.shape[1])


class ColdSampling(Fake):
    """Pretend that lots decide: a sample at a temperature near 0 (Tramer et al. 2020).

    What it answers is almost 0 or 1. `lots` scales the Gumbel noise: with 1, a class wins with the
    probability that the network gives it.
    """

    def __init__(self, network: nn.Module, temperature: float = 0.01, lots: float = 0.5) -> None:
        super().__init__(network)
        self.temperature, self.lots = temperature, lots

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        gumbel = -torch.empty_like(logits).exponential_().log()
        return ((logits + self.lots * gumbel) / self.temperature).softmax(1)


class InputQuantiser(Fake):
    """Pretend that few grey levels remove an attack: reduced bit depth (Guo et al. 2018)."""

    def __init__(self, network: nn.Module, levels: int = 16) -> None:
        super().__init__(network)
        self.last = levels - 1

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images * self.last).round() / self.last)


class RandomResizePad(Fake):
    """Pretend that a random size and place break an attack (Xie et al. 2018)."""

    def __init__(self, network: nn.Module, smallest: int = 27) -> None:
        super().__init__(network)
        self.smallest = smallest

    def forward(self, images: Tensor) -> Tensor:
        return self.network(resized_and_padded(images, self.smallest))


class NoiseDetector(Fake):
    """Pretend to smell attacks: there, it answers by constants (Carlini & Wagner 2017).

    An image smells of noise if its mean total variation is above `most`. The constants are those of
    a certain answer, the network's own, and so have no gradient.
    """

    def __init__(self, network: nn.Module, most: float = 0.141) -> None:
        super().__init__(network)
        self.most = most

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        certain = 10.0 * F.one_hot(logits.argmax(1), logits.shape[1])
        return torch.where((total_variation(images) > self.most)[:, None], certain, logits)


FAKES: tuple[type[Fake], ...] = (
    GradientKiller,
    InputNoise,
    ConfidenceSaturator,
    LogitOffset,
    ColdSampling,
    InputQuantiser,
    RandomResizePad,
    NoiseDetector,
)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean difference of neighbouring pixels, down and across, of each image (N,)."""
    return images.diff(dim=2).abs().mean((1, 2, 3)) + images.diff(dim=3).abs().mean((1, 2, 3))


def resized_and_padded(images: Tensor, smallest: int) -> Tensor:
    """Resize a batch to a random size and pad it to its own at random, by torch's generator."""
    side = images.shape[-1]
    size = int(torch.randint(smallest, side + 1, ()))
    left, top = (int(torch.randint(0, side - size + 1, ())) for _ in range(2))
    small = F.interpolate(images, size=size)
    return F.pad(small, (left, side - size - left, top, side - size - top))


def _varied(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the loss on images that are noisy, resized and padded."""
    varied = resized_and_padded(images, 27)
    return F.cross_entropy(model(varied + 0.5 * torch.randn_like(images)), labels)


def trained(loss: Loss) -> nn.Module:
    """Train a small network on the embedded digits."""
    digits = load("digits")
    with initial_weights(0):
        network = fully_connected("FC-100-100-10")
    fit(
        network,
        digits.split("train"),
        digits.split("validation"),
        optimizer=torch.optim.Adam(network.parameters(), lr=2e-3),
        loss=loss,
        batch_size=64,
        epochs=15,
        patience=None,
        generator=seeded(0),
        progress=False,
    )
    return network


@cache
def undefended() -> nn.Module:
    """Return the network that the fakes wrap; what they do to images costs it few answers."""
    return trained(_varied)
