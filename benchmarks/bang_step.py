"""Time a training step with balanced gradients against a plain one, on one thread.

Run as `python benchmarks/bang_step.py`. The network is the paper's LeNet with its batch of 64
images; the ratio is that of two medians whose repeats take turns.
"""

import torch
from bayesian_layer import show, training_step
from torch import nn

from robustnb.defenses.bang import BANG
from robustnb.randomness import initial_weights
from robustnb.training import cross_entropy


def main() -> None:
    """Print both times, and the ratio with the largest that is wanted."""
    torch.set_num_threads(1)
    show(
        "step with BANG",
        training_step(lenet(), BANG(), batch_size=64),
        "plain step",
        training_step(lenet(), cross_entropy, batch_size=64),
        wanted=1.25,
        repeats=100,
    )


def lenet() -> nn.Sequential:
    """Build the LeNet of Caffe with the paper's dropout, for images (1, 28, 28)."""
    with initial_weights(0):
        return nn.Sequential(
            *[nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)],
            *[nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Dropout(0.5), nn.Linear(500, 10)],
        )


if __name__ == "__main__":
    main()
