"""Time the variational layer against what it cannot do without, on one thread.

Run as `python benchmarks/bayesian_layer.py`. Each ratio is that of two medians whose repeats take
turns, so that other work on the machine slows both alike.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO, sample_logits
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, cross_entropy

NETWORK = "FC-100-100-10"
SIZES = ((100, 785), (100, 101), (10, 101))  # weights and bias of each layer
NUM_SAMPLES, CHUNK = 100, 10


def main() -> None:
    """Print each time, what it is compared with, and the largest ratio that is wanted."""
    torch.set_num_threads(1)
    with initial_weights(0):
        plain = fully_connected(NETWORK)
        bayesian = fully_connected(NETWORK, layer=BayesianLinear)
    show(
        "variational training step",
        training_step(bayesian, NegativeELBO(num_batches=391)),
        "plain training step",
        training_step(plain, cross_entropy),
        wanted=2.5,
        repeats=200,
    )
    for num_images, repeats in ((1, 30), (10_000, 5)):
        images = torch.rand(num_images, 1, 28, 28, generator=seeded(0))
        sample = partial(sample_logits, bayesian, images, NUM_SAMPLES, seeded(0), CHUNK)
        for noisy in (False, True):
            show(
                f"{NUM_SAMPLES} draws, {num_images:,} images",
                sample,
                f"bare matrix products{' and noise' * noisy}",
                products(images.flatten(1), seeded(0) if noisy else None),
                wanted=1.5,
                repeats=repeats,
            )


def training_step(model: nn.Module, loss: Loss, batch_size: int = 128) -> Callable[[], None]:
    """Return a step of momentum SGD on a minibatch of images (1, 28, 28)."""
    images = torch.rand(batch_size, 1, 28, 28, generator=seeded(0))
    labels = torch.randint(10, (batch_size,), generator=seeded(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.95)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model, images, labels).backward()
        optimizer.step()

    return step


def products(x: Tensor, noise: torch.Generator | None = None) -> Callable[[], None]:
    """Return the products of images (N, 784) with weights that are already drawn.

    As many draws at a time as `sample_logits` takes, and the inputs of later layers given. With
    `noise`, as many Gaussian numbers as there are weights are drawn from it too.
    """
    first, *later = [torch.randn(CHUNK, out, columns - 1) for out, columns in SIZES]
    wide = first.flatten(0, 1).T
    pairs = [(torch.rand(CHUNK, len(x), w.shape[2]), w.transpose(1, 2)) for w in later]

    def multiply() -> None:
        for _ in range(NUM_SAMPLES // CHUNK):
            x @ wide
            for inputs, weights in pairs:
                torch.bmm(inputs, weights)
        if noise is not None:
            for size in SIZES * NUM_SAMPLES:
                torch.randn(size, generator=noise)

    return multiply


def show(
    name: str,
    ours: Callable[[], object],
    bare_name: str,
    bare: Callable[[], object],
    *,
    wanted: float,
    repeats: int,
) -> None:
    """Print the medians of both in milliseconds, and their ratio."""
    mine, least = (1000 * seconds for seconds in alternating(ours, bare, repeats))
    ratio = f"{mine / least:.2f} times, wanted at most {wanted}"
    print(f"{name}: {mine:.4g} ms; {bare_name}: {least:.4g} ms; {ratio}", flush=True)


def alternating(
    one: Callable[[], object], other: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Return the median seconds of two calls that take turns, the first of each left out."""
    times = [(timed(one), timed(other)) for _ in range(repeats + 1)][1:]
    return median(first for first, _ in times), median(second for _, second in times)


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
