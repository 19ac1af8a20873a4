"""The active test of Zimmermann et al. (2022): does the attack find what certainly exists?

Each image gets a copy of the network whose last layer is another: a linear readout with two
answers, fitted so that random images within eps of it are normal and one image on the border,
drawn at random, is not. So a fooling image exists for certain. An attack that does not find one
cannot be believed when it finds none in the network itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import averaged_margin, in_ball, project, steepest
from robustnb.auditing.network import Network
from robustnb.models import evaluating
from robustnb.randomness import noise_from, seeded

INNER = 256  # random images within eps, of each image
RIDGE = 1e-3  # of the mean variance of a feature


@dataclass(frozen=True)
class Readout:
    """Weights (N, features) and a threshold (N,) for each image; scores above it are not normal."""

    weights: Tensor
    threshold: Tensor
    scale: Tensor  # of the gap between what is normal and what is not

    def __call__(self, features: Tensor) -> Tensor:
        scores = ((features * self.weights).sum(1) - self.threshold) / self.scale
        return torch.stack([-scores, scores], 1)


class Features(nn.Module):
    """Return what the last linear layer of a network reads (N, features), or else its logits."""

    def __init__(self, network: Network, images: Tensor) -> None:
        super().__init__()
        self.network = network
        self.layer = _last_linear(network, images)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, F)."""
        if self.layer is None:
            logits: Tensor = self.network(images)
            return logits
        read: list[Tensor] = []
        handle = self.layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self.network(images)
        finally:
            handle.remove()
        return read[-1]


class Changed(nn.Module):
    """A copy for each image of the batch: its features, read by its own readout."""

    def __init__(self, features: Features, readout: Readout) -> None:
        super().__init__()
        self.features, self.readout = features, readout

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 2) of being normal and of being what an attack looks for."""
        return self.readout(self.features(images))


def share_found(attack: APGD, network: Network, images: Tensor, seed: int) -> float | None:
    """Return for how many of the changed copies the attack finds what exists, as a share.

    None where no copy can be made: no readout tells the image on the border from the others.
    """
    generator = seeded(seed, images.device)
    with evaluating(network), noise_from(network, generator):
        features = Features(network, images[:2])
        readout, usable = _fitted(features, images, attack, generator)
    if not usable.any():
        return None
    changed, normal = Changed(features, readout), torch.zeros(len(images), dtype=torch.int64)
    normal = normal.to(images.device)
    try:
        found = attack(changed, images, normal, generator)
    except ValueError:  # it has no gradient, or one that is NaN
        return 0.0
    with evaluating(changed), noise_from(changed, seeded(seed + 1, images.device)):
        reached = averaged_margin(changed, found, normal, attack.eot_samples)
    return (reached > 0)[usable].float().mean().item()


def _fitted(
    features: Features, images: Tensor, attack: APGD, generator: torch.Generator
) -> tuple[Readout, Tensor]:
    """Fit a readout for each image, and tell for which (N,) it separates."""
    eps, norm = attack.eps, attack.norm
    directions = torch.empty_like(images).normal_(generator=generator)
    border = project(images + eps * steepest(directions, norm), images, eps, norm)
    readouts, usable = [], []
    for image, outer in zip(images.split(1), border.split(1), strict=True):
        around = image.expand(INNER, *image.shape[1:])
        inner = project(around + in_ball(around, eps, norm, generator), around, eps, norm)
        points = torch.cat([outer, inner])
        mean = _mean_of(features, points, attack.eot_samples)
        readout, gap = _separating(mean.double())
        readouts.append(readout)
        usable.append(gap > 0)
    fields = zip(*readouts, strict=True)
    return Readout(*(torch.stack(field).to(images.dtype) for field in fields)), torch.stack(usable)


def _separating(features: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Return a linear discriminant of the first row from the others, and the gap it leaves."""
    outer, inner = features[0], features[1:]
    centred = inner - inner.mean(0)
    covariance = centred.T @ centred / len(inner)
    ridge = (RIDGE * covariance.diagonal().mean()).clamp(min=torch.finfo(inner.dtype).tiny)
    covariance = covariance + ridge * torch.eye(len(covariance), dtype=inner.dtype).to(inner)
    weights = torch.linalg.solve(covariance, outer - inner.mean(0))
    normal, other = (inner @ weights).max(), outer @ weights
    gap = other - normal
    scale = gap.abs().clamp(min=torch.finfo(inner.dtype).tiny)
    return (weights, (normal + other) / 2, scale), gap


def _mean_of(features: Features, images: Tensor, times: int) -> Tensor:
    with torch.no_grad():
        return torch.stack([features(images) for _ in range(times)]).mean(0)


def _last_linear(network: Network, images: Tensor) -> nn.Linear | None:
    """Return the linear layer that is asked last, if it is asked once for images (N, features).

    A network that asks it for several copies of each image has features of copies, not of images.
    """
    asked: list[nn.Linear] = []
    shapes: list[torch.Size] = []

    def seen(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        asked.append(layer)
        shapes.append(inputs[0].shape)

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_pre_hook(seen) for layer in layers]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    alone = asked and asked.count(asked[-1]) == 1 and shapes[-1][:-1] == images.shape[:1]
    return asked[-1] if alone else None
