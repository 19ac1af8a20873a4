"""Parametric noise injection: noise on weights, with adversarial training (He et al. 2019)."""

import torch

from robustnb.attacks.gradient import PGD
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.defenses.pni import PNILinear
from robustnb.devices import device
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained
from robustnb.randomness import seeded


def pgd(task: Task) -> PGD:
    """Return the attack of the paper, of seven steps, in training and in tests."""
    return PGD(task.eps, task.eps / 3, steps=7)


def train(task: Task, seed: int) -> Trained:
    """Train the noise and the weights on clean and attacked images in equal parts."""
    model, draws = task.untrained(seed, layer=PNILinear), seeded(1_000 + seed, device())
    loss = Adversarial(pgd(task), clean_share=0.5, generator=draws)
    optimizer = torch.optim.Adam(model.parameters(), task.lr)
    return task.trained(model, seed, loss, optimizer)


DEFENSE = Defense(
    title="Parametric noise injection",
    sentence="Weights get noise of a learned strength, and training meets attacked images too.",
    source="He, Rakin & Fan 2019",
    attack=pgd,
    attacked="PGD of 7 steps, one draw a step",
    train=train,
    adversarial=True,
    differs="Half of what it learns from is attacked by PGD, so that it knows the radius.",
)
