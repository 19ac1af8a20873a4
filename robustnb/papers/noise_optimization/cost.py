"""What noise costs: how long a training step takes with it and without."""

from collections.abc import Callable

from robustnb.devices import device
from robustnb.papers.noise_optimization.training import Training, new_network, optimizer_for
from robustnb.papers.timing import median_seconds
from robustnb.training import Split, cross_entropy


def step_cost(training: Training, plain: str, noisy: str, repeats: int, seed: int) -> float:
    """Return how many times as long a training step of `noisy` takes as one of `plain`.

    The two take turns, `repeats` times, and their median times count.
    """
    batch = training.images("train", training.batch_size).load()
    steps = [_step(training, name, batch, seed) for name in (plain, noisy)]
    without, with_noise = median_seconds(steps, repeats)
    return with_noise / without


def _step(training: Training, name: str, batch: Split, seed: int) -> Callable[[], None]:
    model = new_network(training, name, seed).to(device()).train()
    optimizer = optimizer_for(training, model)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model, *batch).backward()
        optimizer.step()

    return step
