"""Other readings of the variational training, where Zhang & Chen (2020) leave it open."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.papers.bayesian_weight_sampling.controls import Initialisation
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    Trained,
    Training,
    negative_elbo,
    plain_network,
    score_draws,
    train_network,
    variational_network,
)


@dataclass(frozen=True)
class Reading:
    """Say how the variational network is trained; the defaults are the reading that we took."""

    training: Training
    likelihood: Literal["sum", "mean"] = "sum"
    complexity_weight: float | None = None
    initialisation: Initialisation = "variational"
    rho_init: float = -3.0


def train_reading(reading: Reading, seed: int) -> Trained:
    """Train the variational network as `reading` says."""
    model = variational_network(reading.rho_init, seed)
    if reading.initialisation == "pytorch":
        copy_weights(plain_network(DEFENDER, seed), model)
    loss = negative_elbo(reading.training, reading.likelihood, reading.complexity_weight)
    return train_network(reading.training, model, loss, score_draws, seed)


def copy_weights(plain: nn.Sequential, variational: nn.Sequential) -> None:
    """Make the means of `variational` the weights and biases of `plain`, of the same shape."""
    with torch.no_grad():
        for source, target in zip(plain, variational, strict=True):
            if isinstance(source, nn.Linear) and isinstance(target, BayesianLinear):
                target.mu.copy_(torch.cat([source.weight, source.bias.unsqueeze(1)], 1))


def rho_of_variance(rho: float) -> float:
    """Return the rho whose softplus is the root of that of the one given."""
    sigma = math.sqrt(math.log1p(math.exp(rho)))
    return math.log(math.expm1(sigma))
