"""BANG: gradients balanced within each batch (Rozsa, Günther & Boult 2016)."""

import torch

from robustnb.attacks.gradient import FGSM
from robustnb.defenses.bang import BANG
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.task import Task, Trained


def train(task: Task, seed: int) -> Trained:
    """Train the network on balanced gradients, by SGD: Adam would rescale what is balanced."""
    model = task.untrained(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return task.trained(model, seed, BANG(), optimizer)


DEFENSE = Defense(
    title="BANG",
    sentence="Training enlarges the gradients of images that are already read rightly.",
    source="Rozsa, Günther & Boult 2016",
    attack=lambda task: FGSM(task.eps),
    attacked="one step along the gradient of the cross-entropy",
    train=train,
    differs="It is trained by SGD with momentum, as in its paper.",
)
