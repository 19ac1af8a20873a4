"""Does a perturbation carry over within a kind? Zhang & Chen's (2020) attack on another kind.

The paper attacks networks that start from small weights, like its plain defenders. Here the
attacked ones start from the variational network's means instead, and train like the plain ones.
"""

import time
from collections.abc import Iterator
from statistics import fmean

from robustnb.attacks.minimal import MinimumNorm
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.experiments.bayesian_weight_sampling_controls import copy_means
from robustnb.experiments.bayesian_weight_sampling_pieces import (
    PIXEL_RANGE,
    Evaluated,
    Perturbed,
    Protocol,
    Trained,
    Training,
    ensemble_accuracy,
    fool,
    images_to_perturb,
    num_weights,
    train_network,
)
from robustnb.experiments.bayesian_weight_sampling_worst_case import columns, draws, network
from robustnb.experiments.pieces import Piece, result
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights
from robustnb.training import cross_entropy, score_accuracy

NUM_SAMPLES = 10


def sources(protocol: Protocol) -> tuple[str, ...]:
    """Return the networks that are attacked: the two that train in minutes."""
    return protocol.sources[:2]


def train_source(training: Training, name: str, seed: int) -> Trained:
    """Train the plain network `name` from the means that a variational one would start from."""
    with initial_weights(seed):
        model = fully_connected(name, scale=PIXEL_RANGE)
        copy_means(fully_connected(name, layer=BayesianLinear), model)
    return train_network(training, model, cross_entropy, score_accuracy, seed)


def perturb_source(
    training: Training, attack: MinimumNorm, num_images: int, name: str, seed: int
) -> Perturbed:
    """Perturb test images until the network `name` is fooled that started from large weights."""
    source = result(_source(training, name, seed)).model
    return fool(source, training.dataset, attack, num_images)


def evaluate(protocol: Protocol, column: str, seed: int) -> Evaluated:
    """Measure single weight draws of a network on the sets made against the other kind."""
    model = network(protocol, column, seed)
    started, accuracies = time.perf_counter(), {}
    _, labels = images_to_perturb(protocol.dataset, protocol.num_images)
    for name, piece in perturbed_pieces(protocol, seed).items():
        answers = draws(model, result(piece).images, NUM_SAMPLES, seed)
        accuracies[name] = {1: ensemble_accuracy(answers, labels, 1)}
    return Evaluated(accuracies, time.perf_counter() - started)


def averages(protocol: Protocol, seed: int) -> Iterator[tuple[str, float, float]]:
    """Yield column, accuracy averaged over the sets, and seconds, for each network."""
    for column, piece in evaluated_pieces(protocol, seed).items():
        found: Evaluated = result(piece)
        yield column, fmean(found.accuracies[name][1] for name in sources(protocol)), found.seconds


def trained_pieces(protocol: Protocol, seed: int) -> list[Piece]:
    """Return the trainings of the attacked networks."""
    return [_source(protocol.plain, name, seed) for name in sources(protocol)]


def perturbed_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Name the perturbation sets by the network that they fool."""
    settings = (protocol.plain, protocol.attack, protocol.num_images)
    return {name: Piece(perturb_source, (*settings, name, seed)) for name in sources(protocol)}


def evaluated_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Name the evaluation of each network by its column."""
    return {name: Piece(evaluate, (protocol, name, seed)) for name in columns(protocol)}


def _source(training: Training, name: str, seed: int) -> Piece:
    return Piece(train_source, (training, name, seed), cost=num_weights(name))
