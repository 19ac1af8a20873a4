"""Plain networks that share with the variational one its step, its initial weights, or both.

Zhang & Chen (2020) leave them out: is it the diversity of weights that helps, or the training?
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.models import fully_connected
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    PIXEL_RANGE,
    Trained,
    Training,
    train_network,
    variational_network,
)
from robustnb.training import RegularizedCrossEntropy, score_accuracy

Initialisation = Literal["pytorch", "variational"]


@dataclass(frozen=True)
class Control:
    """A plain network: its training, its lambda, and whether it starts from variational means."""

    training: Training
    strength: str
    initialisation: Initialisation = "pytorch"


def train_from_means(training: Training, strength: float, seed: int) -> Trained:
    """Train a plain network of the defender's size from the variational network's means."""
    model = fully_connected(DEFENDER, scale=PIXEL_RANGE)
    # No mean depends on rho_init.
    copy_means(variational_network(rho_init=-3.0, seed=seed), model)
    loss = RegularizedCrossEntropy(strength)
    return train_network(training, model, loss, score_accuracy, seed)


def copy_means(variational: nn.Sequential, plain: nn.Sequential) -> None:
    """Make the weights and biases of `plain` the means of `variational`, of the same shape."""
    with torch.no_grad():
        for source, target in zip(variational, plain, strict=True):
            if isinstance(source, BayesianLinear) and isinstance(target, nn.Linear):
                target.weight.copy_(source.mu[:, :-1])
                target.bias.copy_(source.mu[:, -1])
