"""Weight decay: the penalty on squared weights that Zhang & Chen (2020) compare with."""

from robustnb.attacks.gradient import PGD
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained
from robustnb.training import RegularizedCrossEntropy

STRENGTH = 1e-2  # lambda of equation (6), the larger of those that leave clean accuracy as it is


def train(task: Task, seed: int) -> Trained:
    """Train the network with the penalty of equation (6)."""
    return task.trained(task.untrained(seed), seed, RegularizedCrossEntropy(STRENGTH))


DEFENSE = Defense(
    title="Weight decay (L2)",
    sentence="Training keeps the weights small.",
    source="Zhang & Chen 2020",
    attack=lambda task: PGD(task.eps, task.eps / 5, steps=20),
    attacked="perturbations made on another, plain network",
    train=train,
    transferred=True,
)
