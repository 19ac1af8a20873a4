"""A network that repeats its noise, for attacks that compare its answers from call to call."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import averaged_logits, averaged_loss_and_gradient
from robustnb.randomness import draw_seed, noise_from, seeded, stochastic_layers


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
        self.model, self.eot_samples, self.device = model, eot_samples, device
        self.seed = draw_seed(device, generator)
        self.stochastic = bool(stochastic_layers(model))

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
        with noise_from(self.model, seeded(self.seed, self.device)) as noise:
            yield
        self.stochastic |= noise.drawn_globally
