"""Noise whose level each neuron learns (Xiao, Zhang & Peng 2021)."""

from functools import partial

import torch

from robustnb.attacks.gradient import PGD
from robustnb.defenses.noise import noisy_linear, with_noise_levels
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained


def train(task: Task, seed: int) -> Trained:
    """Train weights and noise levels together (Algorithm 1)."""
    model = task.untrained(seed, layer=noisy_linear)
    optimizer = with_noise_levels(model, partial(torch.optim.Adam, lr=task.lr), task.lr)
    return task.trained(model, seed, optimizer=optimizer)


DEFENSE = Defense(
    title="Learned noise",
    sentence="Every neuron adds Gaussian noise, and learns how much.",
    source="Xiao, Zhang & Peng 2021",
    attack=lambda task: PGD(task.eps, task.eps / 5, steps=10, random_start=False),
    attacked="PGD of 10 steps, one draw a step",
    train=train,
)
