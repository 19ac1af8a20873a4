"""How the networks of Zhang & Chen (2020) are trained: plain ones, and ones whose weights vary."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from robustnb.checkpoint import History
from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO, sample_logits
from robustnb.devices import device
from robustnb.metrics import accuracy
from robustnb.models import fully_connected
from robustnb.papers.images import Images
from robustnb.papers.pieces import unfinished
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, RegularizedCrossEntropy, Score, fit, score_accuracy

DEFENDER = "FC-100-100-10"
PIXEL_RANGE = 2.0  # section 3.1: images are scaled to 0..2


@dataclass(frozen=True)
class Training:
    """Say how a network is trained (section 3.2)."""

    dataset: str
    lr: float
    momentum: float = 0.95
    batch_size: int = 128
    epochs: int = 100
    patience: int = 5


@dataclass(frozen=True)
class Trained:
    """A trained network and its history."""

    model: nn.Module
    history: History


def train_plain(training: Training, name: str, strength: float, seed: int) -> Trained:
    """Train the network `name` with L2 regularisation, whose lambda is `strength` (eq. 6)."""
    loss = RegularizedCrossEntropy(strength)
    return train_network(training, plain_network(name, seed), loss, score_accuracy, seed)


def train_bayesian(training: Training, rho_init: float, seed: int) -> Trained:
    """Train the variational network from a constant rho_init (section 3.2)."""
    model = variational_network(rho_init, seed)
    return train_network(training, model, negative_elbo(training), score_draws, seed)


def plain_network(name: str, seed: int) -> nn.Sequential:
    """Return the plain network `name` before its training."""
    with initial_weights(seed):
        return fully_connected(name, scale=PIXEL_RANGE)


def variational_network(rho_init: float, seed: int) -> nn.Sequential:
    """Return the variational network before its training."""
    with initial_weights(seed):
        layer = partial(BayesianLinear, rho_init=rho_init)
        return fully_connected(DEFENDER, scale=PIXEL_RANGE, layer=layer)


def negative_elbo(
    training: Training,
    likelihood: Literal["sum", "mean"] = "sum",
    complexity_weight: float | None = None,
) -> NegativeELBO:
    """Return the loss of a variational network, scaled to the minibatches of its training."""
    images, _ = Images(training.dataset, which="train").load()
    number = math.ceil(len(images) / training.batch_size)
    return NegativeELBO(number, likelihood, complexity_weight)


def score_draws(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the mean accuracy of three weight draws: one is too noisy to stop early by."""
    return accuracy(sample_logits(model, images, num_samples=3), labels)


def train_network(
    training: Training, model: nn.Module, loss: Loss, score: Score, seed: int
) -> Trained:
    """Train a network as `training` says, on its data set, in an order drawn from `seed`."""
    model.to(device())
    history = fit(
        model,
        *(Images(training.dataset, which=which).load() for which in ("train", "validation")),
        optimizer=torch.optim.SGD(model.parameters(), training.lr, training.momentum),
        loss=loss,
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=training.patience,
        score=score,
        generator=seeded(seed, device()),
        checkpoint=unfinished(),
        progress=False,
    )
    return Trained(model.cpu(), history)
