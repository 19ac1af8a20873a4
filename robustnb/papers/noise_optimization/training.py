"""How the networks of Xiao, Zhang & Peng (2021) are trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from robustnb.checkpoint import History
from robustnb.defenses.noise import noise_layers, with_noise_levels
from robustnb.devices import device
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.papers.images import Images, loaded
from robustnb.papers.noise_optimization.networks import network
from robustnb.papers.pieces import unfinished
from robustnb.randomness import initial_weights, seeded
from robustnb.training import fit

SPLITS = "at_random"  # how the paper divides each data set
VALIDATED = 1_000  # validation images: what they say is recorded, and decides nothing
TOGETHER = 500  # images of a forward pass


@dataclass(frozen=True)
class Training:
    """Say how the networks of a table learn (Table 1), and their noise levels (eq. 7).

    Without `momentum` the weights move by Adam, with it by SGD. Every `decay_every` epochs its rate
    falls to 0.8 of itself, and so does that of the noise levels, which begins at `sigma_lr` (of
    them Table 1 says nothing). `num_images` is how many training images are used (None: all), and
    `width` how many channels a ResNet starts with.
    """

    dataset: str
    epochs: int
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float | None = None
    decay_every: int | None = None
    batch_size: int = 128
    sigma_lr: float = 1e-3
    num_images: int | None = None
    width: int = 64

    def images(self, which: str, num_images: int | None = None) -> Images:
        """Name the first images of a split of the data set, as the paper divides it."""
        return Images(self.dataset, SPLITS, which, num_images)


@dataclass(frozen=True)
class Trained:
    """A trained network, its history, and each layer's mean |sigma| before and after each epoch."""

    model: nn.Module
    history: History
    sigmas: list[list[float]]


def train(training: Training, name: str, seed: int) -> Trained:
    """Train a network by its name in a table, or the attacker's own."""
    model = new_network(training, name, seed)
    return train_network(training, model, optimizer_for(training, model), seed)


def new_network(training: Training, name: str, seed: int) -> nn.Module:
    """Return a network before its training, the same for the same seed."""
    classes = len(loaded(training.dataset, SPLITS).classes)
    with initial_weights(seed):
        return network(name, width=training.width, classes=classes)


def train_network(training: Training, model: nn.Module, optimizer: Optimizer, seed: int) -> Trained:
    """Train a network for all epochs and keep its last weights."""
    images, before = training.images("train", training.num_images).load(), noise_levels(model)
    history = fit(
        model.to(device()),
        images,
        training.images("validation", VALIDATED).load(),
        optimizer=optimizer,
        scheduler=schedule_for(training, optimizer, len(images[0])),
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=None,
        score=one_pass_accuracy,
        watch=noise_levels,
        keep="last",
        generator=seeded(seed, device()),
        checkpoint=unfinished(),
        progress=False,
    )
    sigmas = [[row[layer] for layer in before] for row in (before, *history)]
    return Trained(model.cpu(), history, sigmas)


def optimizer_for(training: Training, model: nn.Module) -> Optimizer:
    """Return what moves the weights, and by equation (7) the noise levels if they are learned."""
    rest: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    weights: Callable[[list[nn.Parameter]], Optimizer] = partial(torch.optim.Adam, **rest)
    if training.momentum is not None:
        weights = partial(torch.optim.SGD, momentum=training.momentum, **rest)
    if any(layer.sigma.requires_grad for layer in noise_layers(model)):
        return with_noise_levels(model, weights, training.sigma_lr)
    return weights([weight for weight in model.parameters() if weight.requires_grad])


def schedule_for(training: Training, optimizer: Optimizer, num_images: int) -> StepLR | None:
    """Return the fall of the learning rate (Table 1), counted in minibatches."""
    if training.decay_every is None:
        return None
    batches = math.ceil(num_images / training.batch_size)
    return StepLR(optimizer, training.decay_every * batches, gamma=0.8)


def noise_levels(model: nn.Module) -> dict[str, float]:
    """Return the mean |sigma| of each noise layer, from the first to the last."""
    levels = (layer.sigma.detach().abs().mean().item() for layer in noise_layers(model))
    return {f"sigma {layer}": level for layer, level in enumerate(levels, 1)}


def one_pass_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy of one pass in evaluation mode."""
    return accuracy(predict(model, images, TOGETHER), labels)
