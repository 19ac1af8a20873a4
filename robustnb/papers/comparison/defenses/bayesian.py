"""Bayesian weight sampling: every pass draws its weights anew (Zhang & Chen 2020)."""

import math
from functools import partial

from robustnb.attacks.gradient import PGD
from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained

RHO_INIT = -3.0  # the best of the paper's Table 2


def train(task: Task, seed: int) -> Trained:
    """Train a network whose weights are Gaussians, by Bayes by Backprop."""
    model = task.untrained(seed, layer=partial(BayesianLinear, rho_init=RHO_INIT))
    images, _ = task.images("train").load()
    loss = NegativeELBO(math.ceil(len(images) / task.batch_size))
    return task.trained(model, seed, loss)


DEFENSE = Defense(
    title="Bayesian, one draw",
    sentence="Each weight is a Gaussian, and every answer draws all weights anew.",
    source="Zhang & Chen 2020",
    attack=lambda task: PGD(task.eps, task.eps / 5, steps=20),
    attacked="perturbations made on another, plain network",
    train=train,
    transferred=True,
)
