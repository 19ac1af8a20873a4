"""What hangs on what Zhang & Chen (2020) leave open: the attack's step, and the ELBO's scaling."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO
from robustnb.experiments.bayesian_weight_sampling_controls import Initialisation
from robustnb.experiments.bayesian_weight_sampling_pieces import (
    DEFENDER,
    PIXEL_RANGE,
    TABLE_RHO_INIT,
    Evaluated,
    Protocol,
    Trained,
    Training,
    bayesian_column,
    evaluate_draws,
    evaluated_pieces,
    num_weights,
    perturbed_piece,
    score_draws,
    train_network,
    variational_network,
)
from robustnb.experiments.pieces import Piece, result
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights

ALPHAS = (0.0125, 0.025, 0.05, 0.1, 0.25)  # steps of the attack, in pixel units of [0, 1]
MOST_IMAGES = 1_000  # of each set that is made with another step
NUM_SAMPLES = 10
AS_CHOSEN = "as chosen"
SEED = 0  # the readings differ by so much that one seed shows it


@dataclass(frozen=True)
class Choice:
    """A reading of how the variational network is trained; the defaults are the one we took."""

    training: Training
    likelihood: Literal["sum", "mean"] = "sum"
    complexity_weight: float | None = None
    initialisation: Initialisation = "variational"
    rho_init: float = TABLE_RHO_INIT


def choices(protocol: Protocol) -> dict[str, Choice]:
    """Name our reading of how the network of Table 3 is trained, and those that we did not take.

    The complexity is divided by the number of minibatches, except where it is charged over images.
    """
    ours = protocol.bayesian
    faster = replace(ours, lr=10 * ours.lr)
    images, _ = load(ours.dataset).split("train")
    return {
        AS_CHOSEN: Choice(ours),
        "ten times the learning rate": Choice(faster),
        "mean likelihood, complexity over images": Choice(faster, "mean", 1 / len(images)),
        "mean likelihood, complexity over minibatches": Choice(faster, "mean"),
        "PyTorch's initial weights": Choice(ours, initialisation="pytorch"),
        "softplus(rho) is the variance": Choice(ours, rho_init=rho_of_variance(TABLE_RHO_INIT)),
    }


def rho_of_variance(rho: float) -> float:
    """Return the rho whose softplus is the root of that of the one given."""
    sigma = math.sqrt(math.log1p(math.exp(rho)))
    return math.log(math.expm1(sigma))


def with_step(protocol: Protocol, alpha: float) -> Protocol:
    """Return the protocol whose attack takes steps of another length, on fewer images."""
    return replace(
        protocol,
        attack=replace(protocol.attack, alpha=alpha),
        num_images=min(MOST_IMAGES, protocol.num_images),
        pruned=(),
        ensembles=(1, NUM_SAMPLES),
    )


def train_choice(choice: Choice, seed: int) -> Trained:
    """Train the variational network as `choice` says."""
    model = variational_network(choice.rho_init, seed)
    if choice.initialisation == "pytorch":
        copy_weights(_plain_network(seed), model)
    images, _ = load(choice.training.dataset).split("train")
    number = math.ceil(len(images) / choice.training.batch_size)
    loss = NegativeELBO(number, choice.likelihood, choice.complexity_weight)
    return train_network(choice.training, model, loss, score_draws, seed)


def _plain_network(seed: int) -> nn.Sequential:
    with initial_weights(seed):
        return fully_connected(DEFENDER, scale=PIXEL_RANGE)


def copy_weights(plain: nn.Sequential, variational: nn.Sequential) -> None:
    """Make the means of `variational` the weights and biases of `plain`, of the same shape."""
    with torch.no_grad():
        for source, target in zip(plain, variational, strict=True):
            if isinstance(source, nn.Linear) and isinstance(target, BayesianLinear):
                target.mu.copy_(torch.cat([source.weight, source.bias.unsqueeze(1)], 1))


def evaluate_choice(protocol: Protocol, choice: Choice, seed: int) -> Evaluated:
    """Measure single weight draws of a network trained by another reading."""
    model = result(_trained(choice, seed)).model
    return evaluate_draws(model, replace(protocol, ensembles=(1, NUM_SAMPLES)), seed)


def trained_pieces(protocol: Protocol, seed: int) -> list[Piece]:
    """Return the trainings of the readings that we did not take."""
    known = choices(protocol)
    return [_trained(known[name], seed) for name in known if seed == SEED and name != AS_CHOSEN]


def perturbed_pieces(protocol: Protocol, seed: int) -> list[Piece]:
    """Return the perturbation sets of every step of the attack."""
    stepped = [with_step(protocol, alpha) for alpha in ALPHAS]
    return [perturbed_piece(other, name, seed) for other in stepped for name in other.sets]


def choice_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Name the evaluation of every reading on the paper's sets."""
    if seed != SEED:
        return {}
    ours = evaluated_pieces(protocol, seed)[bayesian_column(TABLE_RHO_INIT)]
    return {
        name: Piece(evaluate_choice, (protocol, choice, seed)) if name != AS_CHOSEN else ours
        for name, choice in choices(protocol).items()
    }


def step_pieces(protocol: Protocol, seed: int) -> dict[tuple[float, str], Piece]:
    """Name the evaluation of every network under every step, by the step and the column."""
    return {
        (alpha, column): piece
        for alpha in ALPHAS
        for column, piece in evaluated_pieces(with_step(protocol, alpha), seed).items()
    }


def _trained(choice: Choice, seed: int) -> Piece:
    return Piece(train_choice, (choice, seed), cost=2 * num_weights(DEFENDER))
