"""Time a training step with learned noise against a plain one, on one thread.

Run as `python benchmarks/noise_step.py`. The networks are the paper's for MNIST, with its batch of
128 images and its optimizers. Each ratio is that of two medians whose repeats take turns; the last
leaves out what noise costs that is not learned. Below each stands the least time that it takes to
draw the noise: normal numbers, one for each neuron and image.
"""

from collections.abc import Callable
from functools import partial

import torch
from bayesian_layer import show, timed
from torch import nn
from torch.optim import Adam, Optimizer

from robustnb.defenses.noise import noise_layers, with_noise_levels
from robustnb.papers.noise_optimization.networks import network
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import cross_entropy

BATCH = 128
PAIRS = (("MLPN ReLU", "MLP ReLU"), ("CNN-MLPN", "CNN"), ("CNN-AN", "CNN"), ("CNN-AN", "CNN-A+"))


def main() -> None:
    """Print both times of each pair, and the ratio with the largest that is wanted."""
    torch.set_num_threads(1)
    for noisy, plain in PAIRS:
        show(f"step of {noisy}", step(noisy), f"of {plain}", step(plain), wanted=1.1, repeats=60)
        numbers = draw(noisy)
        milliseconds = 1000 * min(timed(numbers) for _ in range(60))
        print(f"  its normal numbers alone: {milliseconds:.4g} ms", flush=True)


def step(name: str) -> Callable[[], None]:
    """Return a training step of a network: forward, backward and optimizer."""
    model = built(name)
    images = torch.rand(BATCH, 1, 28, 28, generator=seeded(0))
    labels = torch.randint(10, (BATCH,), generator=seeded(1))
    optimizer, generator = optimizer_of(model), seeded(2)

    def take() -> None:
        with noise_from(model, generator):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(model, images, labels).backward()
            optimizer.step()

    return take


def built(name: str) -> nn.Module:
    """Build a network of the paper in training mode."""
    with initial_weights(0):
        return network(name).train()


def optimizer_of(model: nn.Module) -> Optimizer:
    """Return Adam with weight decay, and equation (7) for noise levels (Table 1)."""
    weights = partial(Adam, lr=1e-3, weight_decay=1e-4)
    if any(layer.sigma.requires_grad for layer in noise_layers(model)):
        return with_noise_levels(model, weights)
    return weights(model.parameters())


def draw(name: str) -> Callable[[], None]:
    """Return what draws as many normal numbers as a step of the network adds."""
    shapes, generator = [layer.sigma.shape for layer in noise_layers(built(name))], seeded(0)

    def take() -> None:
        for shape in shapes:
            torch.randn(BATCH, *shape, generator=generator)

    return take


if __name__ == "__main__":
    main()
