"""What noise costs: how long a training step takes with it and without."""

import time
from statistics import median

import torch
from torch import Tensor

from robustnb.devices import device
from robustnb.papers.noise_optimization.training import Training, new_network, optimizer_for
from robustnb.training import cross_entropy


def step_cost(training: Training, plain: str, noisy: str, repeats: int, seed: int) -> float:
    """Return how many times as long a training step of `noisy` takes as one of `plain`.

    The two take turns, `repeats` times, and their median times count.
    """
    images, labels = training.images("train", training.batch_size).load()
    steps = [_Step(training, name, images, labels, seed) for name in (plain, noisy)]
    for step in steps:
        step()  # the first is slower than the others
    times = [[step() for step in steps] for _ in range(repeats)]
    without, with_noise = (median(column) for column in zip(*times, strict=True))
    return with_noise / without


class _Step:
    """A training step that says how many seconds it took."""

    def __init__(
        self, training: Training, name: str, images: Tensor, labels: Tensor, seed: int
    ) -> None:
        self.model = new_network(training, name, seed).to(device()).train()
        self.optimizer = optimizer_for(training, self.model)
        self.images, self.labels = images, labels

    def __call__(self) -> float:
        started = _clock()
        self.optimizer.zero_grad()
        cross_entropy(self.model, self.images, self.labels).backward()
        self.optimizer.step()
        return _clock() - started


def _clock() -> float:
    """Return seconds: of this process on a CPU, so that others on the machine do not count."""
    if device().type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()
