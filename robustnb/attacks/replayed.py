"""A network that repeats its noise, for attacks that compare its answers from call to call."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import averaged_logits, averaged_loss_and_gradient
from robustnb.attacks.hidden_noise import FEW, warn_if_apart
from robustnb.randomness import SameNoise, draw_seed, seeded, stochastic_layers


class Replayed:
    """Ask a network with the same noise at each call; all answers are means over `eot_samples`.

    `stochastic` says whether it draws any, as far as is known after the calls so far.
    """

    def __init__(
        self,
        model: nn.Module,
        eot_samples: int,
        device: torch.device,
        generator: torch.Generator | None,
    ) -> None:
        self.model, self.eot_samples = model, eot_samples
        self.noise = SameNoise(model, seeded(draw_seed(device, generator), device))
        self.stochastic = bool(stochastic_layers(model))

    def warn_unless_repeated(self, images: Tensor) -> None:
        """Warn, once for each network, if it answers the same images in two ways."""
        one, other = (self.logits(images[:FEW]) for _ in range(2))
        self.stochastic |= warn_if_apart(self.model, one, other)

    def logits(self, images: Tensor) -> Tensor:
        """Return the mean logits (N, classes), without gradients."""
        with self._noise():
            return averaged_logits(self.model, images, self.eot_samples)

    def loss_and_gradient(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy (N,) and its gradient in the images."""
        with self._noise():
            return averaged_loss_and_gradient(
                self.model, images, labels, "cross-entropy", self.eot_samples
            )

    @contextmanager
    def _noise(self) -> Iterator[None]:
        with self.noise() as drawn:
            yield
        self.stochastic |= drawn.any
