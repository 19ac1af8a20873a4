"""Randomised smoothing: noisy copies of an image vote (Cohen, Rosenfeld & Kolter 2019)."""

from dataclasses import replace

from robustnb.defenses.adversarial_training import Adversarial, InputNoise
from robustnb.devices import device
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.networks import Smoothed
from robustnb.papers.comparison.task import Task, Trained
from robustnb.randomness import seeded

SIGMA, COPIES = 0.5, 4


def train(task: Task, seed: int) -> Trained:
    """Train the network under the noise, and let a few noisy copies vote."""
    loss = Adversarial(InputNoise(SIGMA), generator=seeded(1_000 + seed, device()))
    trained = task.trained(task.untrained(seed), seed, loss)
    return replace(trained, model=Smoothed(trained.model, SIGMA, COPIES).eval())


DEFENSE = Defense(
    title="Randomised smoothing",
    sentence=f"{COPIES} copies of the image with strong noise on every pixel vote.",
    source="Cohen, Rosenfeld & Kolter 2019",
    attack=None,
    attacked="none: it proves a radius in L2",
    train=train,
    differs="Its certificates rest on many more noisy copies than its answers under attack.",
)
