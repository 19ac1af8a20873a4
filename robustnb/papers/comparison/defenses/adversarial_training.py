"""Adversarial training: the network learns from attacked images (Madry et al. 2018)."""

from robustnb.attacks.gradient import PGD
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.devices import device
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained
from robustnb.randomness import seeded


def train(task: Task, seed: int) -> Trained:
    """Train the network on images that PGD has attacked."""
    pgd, draws = PGD(task.eps, task.eps / 4, steps=10), seeded(1_000 + seed, device())
    return task.trained(task.untrained(seed), seed, Adversarial(pgd, generator=draws))


DEFENSE = Defense(
    title="Adversarial training (PGD)",
    sentence="Every image that the network learns from is attacked first.",
    source="Madry et al. 2018",
    attack=lambda task: PGD(task.eps, task.eps / 30, steps=40),
    attacked="PGD of 40 steps",
    train=train,
    adversarial=True,
    differs="All that it learns from is attacked by PGD, so that it knows the radius.",
)
