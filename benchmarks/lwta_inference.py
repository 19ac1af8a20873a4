"""Time WRN-34-1 with competing units beside the same network with ReLU, in ms per image.

Run as `python benchmarks/lwta_inference.py`. Kaspar, Hicheur & Bourdrez (2024, section 6) report
166 ms per image, without batch or hardware; at most a tenth is wanted here for batches of 128. The
two networks take turns, so that other work on the machine slows both alike.
"""

from collections.abc import Callable
from functools import partial

import torch
from bayesian_layer import alternating
from torch import nn
from torch.nn import functional as F

from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.models import predict
from robustnb.papers.stochastic_lwta.networks import wide_resnet
from robustnb.randomness import initial_weights, seeded

REPORTED = 166.0


def main() -> None:
    """Print the times of an answer, and of a pass forward and back as training needs it."""
    with initial_weights(0):
        competing, plain = wide_resnet(34, 1, activation=WinnerTakesAll), wide_resnet(34, 1)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for batch_size, repeats in ((1, 30), (128, 5)):
            show(f"answer, {threads} thread(s)", answer, competing, plain, batch_size, repeats)
    torch.set_num_threads(1)
    show("forward and backward, 1 thread", step, competing, plain, 128, 3)


def show(
    name: str,
    measured: Callable[[nn.Module, int], None],
    competing: nn.Module,
    plain: nn.Module,
    batch_size: int,
    repeats: int,
) -> None:
    """Print the medians of both networks, and their ratio."""
    calls = (partial(measured, model, batch_size) for model in (competing, plain))
    mine, relu = (1000 * seconds / batch_size for seconds in alternating(*calls, repeats))
    line = f"{name}, batch of {batch_size}: LWTA {mine:.4g} ms per image, ReLU {relu:.4g} ms"
    wanted = f", wanted at most {REPORTED / 10}" if measured is answer and batch_size > 1 else ""
    print(f"{line}, {mine / relu:.2f} times{wanted}", flush=True)


def answer(model: nn.Module, batch_size: int) -> None:
    """Classify a batch of images (3, 32, 32)."""
    predict(model, torch.rand(batch_size, 3, 32, 32, generator=seeded(0)))


def step(model: nn.Module, batch_size: int) -> None:
    """Compute the gradients of a batch of images (3, 32, 32)."""
    images = torch.rand(batch_size, 3, 32, 32, generator=seeded(0))
    F.cross_entropy(model.train()(images), torch.arange(batch_size) % 10).backward()


if __name__ == "__main__":
    main()
