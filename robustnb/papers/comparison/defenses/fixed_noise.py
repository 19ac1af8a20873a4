"""Noise of one fixed level at every neuron (Xiao, Zhang & Peng 2021)."""

from functools import partial

import torch

from robustnb.attacks.gradient import PGD
from robustnb.defenses.noise import noisy_linear
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained


def train(task: Task, seed: int) -> Trained:
    """Train the weights; the noise stays as it is."""
    model = task.untrained(seed, layer=partial(noisy_linear, trainable=False))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return task.trained(model, seed, optimizer=torch.optim.Adam(weights, task.lr))


DEFENSE = Defense(
    title="Fixed noise",
    sentence="Every neuron adds Gaussian noise of standard deviation 1.",
    source="Xiao, Zhang & Peng 2021",
    attack=lambda task: PGD(task.eps, task.eps / 5, steps=10, random_start=False),
    attacked="PGD of 10 steps, one draw a step",
    train=train,
)
