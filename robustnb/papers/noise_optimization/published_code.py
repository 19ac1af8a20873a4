"""What each departure of the published code from the paper is worth (Xiao, Zhang & Peng 2021)."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import averaged_gradient
from robustnb.checkpoint import History
from robustnb.defenses.noise import GaussianNoise
from robustnb.devices import device
from robustnb.judging import attacker_draws
from robustnb.models import evaluating
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.measuring import BATCH, mean_accuracy, used
from robustnb.papers.noise_optimization.training import (
    Trained,
    Training,
    new_network,
    optimizer_for,
    train_network,
)
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import fit

ENOUGH, MOST_EPOCHS = 0.97, 10  # of the test set, at which the code stops, and its last epoch
CHANGE = "mean change of a pixel"
# Means and standard deviations of CIFAR-10's channels, by which the code normalises.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class CodedNoise(GaussianNoise):
    """Noise of |sigma|, for sigma of either sign as the code starts it.

    Without `signed` the gradient lacks the factor sign(sigma), as in the code: where sigma is
    negative it then points uphill.
    """

    def __init__(self, *shape: int, signed: bool) -> None:
        super().__init__(*shape)
        nn.init.normal_(self.sigma)
        self.signed = signed

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *shape) to (N, *shape)."""
        epsilon = torch.randn(x.shape, generator=self.generator, device=x.device, dtype=x.dtype)
        level = self.sigma.abs()
        if not self.signed:
            level = self.sigma + (level - self.sigma).detach()
        return x + level * epsilon


def train_signs(training: Training, name: str, signed: bool, seed: int) -> Trained:
    """Train with one Adam for all, whose weight decay reaches sigma, as in the code."""
    model = new_network(training, name, seed)
    with initial_weights(seed):
        replace_noise(model, partial(CodedNoise, signed=signed))
    optimizer = torch.optim.Adam(
        model.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    return train_network(training, model, optimizer, seed)


def replace_noise(model: nn.Module, make: Callable[..., GaussianNoise]) -> None:
    """Put `make(*shape)` in the place of each noise layer."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, GaussianNoise):
                setattr(parent, name, make(*child.sigma.shape))


def train_until_enough(training: Training, name: str, seed: int) -> Trained:
    """Train epoch by epoch until the *test* set is read well enough, as the code does."""
    model = new_network(training, name, seed).to(device())
    history: History = []
    optimizer, generator = optimizer_for(training, model), seeded(seed, device())
    images = training.images("train", training.num_images).load()
    test = training.images("test").load()
    while len(history) < MOST_EPOCHS:
        history += fit(
            *(model, images, test),
            optimizer=optimizer,
            batch_size=training.batch_size,
            epochs=1,
            keep="last",
            generator=generator,
            progress=False,
        )
        if history[-1]["validation_accuracy"] > ENOUGH:
            break
    return Trained(model.cpu(), history, [])


def evaluate_clamped(
    trained: Trained, eps: float, images: Images, draws: int, seed: int
) -> dict[str, float]:
    """Measure a network on images that are normalised, attacked there, and clamped to [0, 1].

    Returns its accuracies, and how far the clamp moves a pixel of [0, 1] on average.
    """
    model, (pictures, labels) = used(trained), images.load()
    clean, on_normalised = normalised(pictures), nn.Sequential(_Images(), model)
    with evaluating(model), noise_from(model, attacker_draws(seed)):
        gradients = [
            averaged_gradient(on_normalised, *batch, "cross-entropy", 1)
            for batch in zip(clean.split(BATCH), labels.split(BATCH), strict=True)
        ]
    attacked = clean + eps * torch.cat(gradients).sign()
    seen = {"clean": as_seen(clean), "white-box FGSM": as_seen(attacked)}
    found = {column: mean_accuracy(model, (x, labels), draws, seed) for column, x in seen.items()}
    return found | {CHANGE: (seen["clean"] - pictures).abs().mean().item()}


def normalised(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) as the code normalises them: (x - MEAN) / STD."""
    mean, std = _scale(images)
    return (images - mean) / std


def as_seen(normalised: Tensor) -> Tensor:
    """Return the images in [0, 1] that are left of normalised ones after the code's clamp."""
    return _Images()(normalised.clamp(0, 1))


class _Images(nn.Module):
    """Make images out of normalised ones."""

    def forward(self, z: Tensor) -> Tensor:
        mean, std = _scale(z)
        return z * std + mean


def _scale(images: Tensor) -> Iterator[Tensor]:
    return (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
