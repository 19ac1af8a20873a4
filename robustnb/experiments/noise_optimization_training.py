"""How the networks of Xiao, Zhang & Peng (2021) are trained, and asked what they have learned."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from robustnb.checkpoint import History
from robustnb.data import Dataset, load
from robustnb.defenses.noise import noise_layers, with_noise_levels
from robustnb.experiments.pieces import unfinished
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.papers.noise_optimization.networks import network
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import Split, fit

PAPER = "noise-optimization"
VALIDATED = 1_000  # validation images: what they say is recorded, and decides nothing
TOGETHER = 500  # images that a network is asked at once
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


@dataclass(frozen=True)
class Trained:
    """A trained network, its history, and each layer's mean |sigma| before and after each epoch."""

    model: nn.Module
    history: History
    sigmas: list[list[float]]
    seconds: float


def train(training: Training, name: str, seed: int) -> Trained:
    """Train a network by its name in a table, or the attacker's own."""
    model = new_network(training, name, seed)
    return train_network(training, model, optimizer_for(training, model), seed)


def new_network(training: Training, name: str, seed: int) -> nn.Module:
    """Return a network before its training, the same for the same seed."""
    classes = len(_loaded(training.dataset).classes)
    with initial_weights(seed):
        return network(name, width=training.width, classes=classes)


def train_network(training: Training, model: nn.Module, optimizer: Optimizer, seed: int) -> Trained:
    """Train a network for all epochs and keep its last weights."""
    images, before = images_of(training.dataset, "train", training.num_images), noise_levels(model)
    history = fit(
        model.to(DEVICE),
        images,
        images_of(training.dataset, "validation", VALIDATED),
        optimizer=optimizer,
        scheduler=schedule_for(training, optimizer, len(images[0])),
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=None,
        score=lambda model, *split: share(model, split),
        watch=noise_levels,
        keep="last",
        generator=seeded(seed, DEVICE),
        checkpoint=unfinished(),
        progress=False,
    )
    sigmas = [[row[layer] for layer in before] for row in (before, *history)]
    return Trained(model.cpu(), history, sigmas, sum(row["seconds"] for row in history))


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


def images_of(dataset: str, which: str, number: int | None = None) -> Split:
    """Return the first images of a split, as the paper divides the data, and their labels."""
    loaded = _loaded(dataset)
    chosen = loaded.splits[which][:number]
    return loaded.images[chosen].to(DEVICE), loaded.labels[chosen].to(DEVICE)


@lru_cache(maxsize=2)
def _loaded(dataset: str) -> Dataset:
    # Every piece asks for the images, and those that need no file are drawn anew at each load.
    return load(dataset, splits="at_random")


def share(
    model: nn.Module, split: Split, draws: int = 1, generator: torch.Generator | None = None
) -> float:
    """Return the share of right answers, the mean over single passes if there is noise."""
    images, labels = split
    passes = draws if is_noisy(model) else 1
    with noise_from(model, generator):
        found = [accuracy(predict(model, images, TOGETHER), labels) for _ in range(passes)]
    return fmean(found)


def is_noisy(model: nn.Module) -> bool:
    """Tell whether two passes of a network in evaluation mode may differ."""
    return any(layer.at_inference for layer in noise_layers(model))
