"""A Bayesian ensemble: several weight draws, made once, answer together (Zhang & Chen 2020)."""

from dataclasses import replace

from robustnb.attacks.gradient import PGD
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.defenses import bayesian
from robustnb.papers.comparison.networks import drawn
from robustnb.papers.comparison.task import Task, Trained

MEMBERS = 5


def train(task: Task, seed: int) -> Trained:
    """Train the Bayesian network, and draw the members."""
    trained = bayesian.train(task, seed)
    return replace(trained, model=drawn(trained.model, MEMBERS, seed))


DEFENSE = Defense(
    title=f"Bayesian, ensemble of {MEMBERS}",
    sentence=f"{MEMBERS} draws of the Gaussian weights, made once, average their probabilities.",
    source="Zhang & Chen 2020",
    attack=lambda task: PGD(task.eps, task.eps / 5, steps=20),
    attacked="perturbations made on another, plain network",
    train=train,
    transferred=True,
    differs="The draws are made once, so that nothing is random any more.",
)
