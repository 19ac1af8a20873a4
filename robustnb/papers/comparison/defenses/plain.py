"""No defence: what all others are compared with."""

from robustnb.attacks.gradient import FGSM
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained


def train(task: Task, seed: int) -> Trained:
    """Train the network on the cross-entropy."""
    return task.trained(task.untrained(seed), seed)


DEFENSE = Defense(
    title="No defence",
    sentence="The network learns from clean images, and nothing else is done.",
    source="Goodfellow, Shlens & Szegedy 2015",
    attack=lambda task: FGSM(task.eps),
    attacked="one step along the gradient (FGSM)",
    train=train,
)
