"""Adversarial training: losses for `fit` that attack the images first (Madry et al. 2018).

Attacks draw from the `generator` of the loss. With the generator that `fit` gets, an interrupted
run resumes to the same weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.checks import check_at_least, check_images
from robustnb.training import Loss, cross_entropy


@dataclass(frozen=True)
class Adversarial:
    """Compute the loss of a minibatch that `attack` has changed (Madry et al., section 2.1).

    The attack meets the present network in evaluation mode; the loss is computed in the network's
    own mode. With `clean_share` a, it is (1 - a) * adversarial + a * clean, from a pass each;
    parametric noise injection was trained at 0.5. PGD(eps, alpha=1.25 * eps, steps=1) makes it the
    single step from a random start of Wong et al. (2020, algorithm 3).
    """

    attack: Attack
    clean_share: float = 0.0
    loss: Loss = cross_entropy
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.clean_share < 1:
            raise ValueError(f"clean_share is {self.clean_share}: it is at least 0 and below 1.")

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss on the attacked images, mixed with that on the clean ones."""
        attacked = self.attack(model, images, labels, self.generator)
        loss = self.loss(model, attacked, labels)
        if not self.clean_share:
            return loss
        clean = self.loss(model, images, labels)
        return (1 - self.clean_share) * loss + self.clean_share * clean


@dataclass(frozen=True)
class Mixture:
    """Compute the loss of a minibatch that one of `attacks`, or none, has changed at random.

    It stays clean with probability `clean`; the attacks share the rest equally (Kaspar et al.,
    section 3.1). Four attacks have 1/8 each, as in the report. For fewer the report does not say;
    here `clean` stays at 4/8.
    """

    attacks: tuple[Attack, ...]
    clean: float = 4 / 8
    loss: Loss = cross_entropy
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if not self.attacks or not 0 <= self.clean <= 1:
            raise ValueError(
                f"clean is {self.clean} with {len(self.attacks)} attacks: "
                "Mixture needs a probability and at least one attack."
            )

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss on the minibatch, changed by one attack at most."""
        attack = self._choose(images.device)
        if attack is not None:
            images = attack(model, images, labels, self.generator)
        return self.loss(model, images, labels)

    def _choose(self, device: torch.device) -> Attack | None:
        drawn = torch.rand((), generator=self.generator, device=device, dtype=torch.float64).item()
        if drawn < self.clean:
            return None
        return self.attacks[int((drawn - self.clean) / (1 - self.clean) * len(self.attacks))]


@dataclass(frozen=True)
class InputNoise:
    """Add noise N(0, sigma^2) to every pixel; it is called as an attack is.

    Pixels may leave [0, 1]: randomised smoothing certifies the network under unclipped noise.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_at_least(0, sigma=self.sigma)

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return noisy images of the shape of `images`; the network is not used."""
        check_images(images)
        noise = torch.randn(
            images.shape, generator=generator, device=images.device, dtype=images.dtype
        )
        return images + self.sigma * noise
