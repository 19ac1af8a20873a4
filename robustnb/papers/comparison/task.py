"""The task that every defence is given: the same data, network, epochs and radius."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from robustnb.checkpoint import History
from robustnb.devices import device
from robustnb.models import Layer, fully_connected
from robustnb.papers.images import Images
from robustnb.papers.pieces import unfinished
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, Score, cross_entropy, fit, score_accuracy

Activation = Callable[[], nn.Module]


@dataclass(frozen=True)
class Trained:
    """A trained network on the CPU, its history, and the seconds of work that its training took."""

    model: nn.Module
    history: History

    @property
    def seconds(self) -> float:
        """Return the seconds, of the processor where that is where it was trained."""
        return sum(row["work"] for row in self.history)


@dataclass(frozen=True)
class Task:
    """Say what every defence is trained for, and on what.

    `eps` is the radius of the attacks in Linf, for pixels from 0 to 1. It is known to a defence
    that trains against attacks.
    """

    dataset: str = "mnist"
    network: str = "FC-100-100-10"
    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    eps: float = 0.1

    def images(self, which: str, num_images: int | None = None) -> Images:
        """Name the first images of a split (all unless told)."""
        return Images(self.dataset, which=which, num_images=num_images)

    def untrained(
        self, seed: int, layer: Layer = nn.Linear, activation: Activation = nn.ReLU
    ) -> nn.Sequential:
        """Return the network before its training, of other layers or activations if given."""
        with initial_weights(seed):
            model = fully_connected(self.network, layer=layer)
            parts = (activation() if isinstance(part, nn.ReLU) else part for part in model)
            return nn.Sequential(*parts)

    def trained(
        self,
        model: nn.Module,
        seed: int,
        loss: Loss = cross_entropy,
        optimizer: torch.optim.Optimizer | None = None,
        score: Score = score_accuracy,
    ) -> Trained:
        """Train a network for all epochs, by Adam unless told, in an order drawn from `seed`."""
        model.to(device())
        history = fit(
            *(model, self.images("train").load(), self.images("validation").load()),
            optimizer=optimizer or torch.optim.Adam(model.parameters(), self.lr),
            loss=loss,
            score=score,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=None,
            keep="last",
            watch=_Work(),
            generator=seeded(seed, device()),
            checkpoint=unfinished(),
            progress=False,
        )
        return Trained(model.cpu(), history)


class _Work:
    """Tell after each epoch the seconds since the one before: of this process on a CPU."""

    def __init__(self) -> None:
        self.clock = time.process_time if device().type == "cpu" else time.perf_counter
        self.before = self.clock()

    def __call__(self, _: nn.Module) -> dict[str, float]:
        now, before = self.clock(), self.before
        self.before = now
        return {"work": now - before}
