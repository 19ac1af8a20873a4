"""Stochastic local winner-takes-all, with adversarial training (Kaspar et al. 2024)."""

from functools import partial

from robustnb.attacks.gradient import PGD
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.defenses.lwta import WinnerTakesAll, competitions
from robustnb.devices import device
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained
from robustnb.randomness import seeded

UNITS = 2
HOT, COLD = 0.67, 0.01  # the temperature in training and in tests, as in the authors' code


def train(task: Task, seed: int) -> Trained:
    """Train blocks of two on attacked images, and leave them cold."""
    model = task.untrained(seed, activation=partial(WinnerTakesAll, UNITS, "relaxed", HOT))
    pgd, draws = PGD(task.eps, task.eps / 4, steps=10), seeded(1_000 + seed, device())
    trained = task.trained(model, seed, Adversarial(pgd, generator=draws))
    for layer in competitions(trained.model):
        layer.temperature = COLD
    return trained


DEFENSE = Defense(
    title="Stochastic winner-takes-all",
    sentence="Neurons compete in pairs, and a lottery decides which of the two may speak.",
    source="Kaspar, Hicheur & Bourdrez 2024",
    attack=lambda task: PGD(task.eps, task.eps / 30, steps=3, random_start=False),
    attacked="PGD of 3 short steps, one draw a step",
    train=train,
    adversarial=True,
    differs="All that it learns from is attacked by PGD, so that it knows the radius.",
)
