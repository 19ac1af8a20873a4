"""Networks to attack that start from large weights, as the variational network does.

Those that Zhang & Chen (2020) attack start from small weights, like their plain defenders.
"""

from robustnb.defenses.bayesian import BayesianLinear
from robustnb.models import fully_connected
from robustnb.papers.bayesian_weight_sampling.controls import copy_means
from robustnb.papers.bayesian_weight_sampling.training import (
    PIXEL_RANGE,
    Trained,
    Training,
    train_network,
)
from robustnb.randomness import initial_weights
from robustnb.training import cross_entropy, score_accuracy


def train_source(training: Training, name: str, seed: int) -> Trained:
    """Train the plain network `name` from the means that a variational one would start from."""
    with initial_weights(seed):
        model = fully_connected(name, scale=PIXEL_RANGE)
        copy_means(fully_connected(name, layer=BayesianLinear), model)
    return train_network(training, model, cross_entropy, score_accuracy, seed)
