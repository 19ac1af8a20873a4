"""How long a training step takes, with and without BANG."""

from collections.abc import Callable

import torch

from robustnb.devices import device
from robustnb.papers.bang.training import Training, build, loss_of
from robustnb.papers.timing import median_seconds
from robustnb.randomness import initial_weights
from robustnb.training import Loss, Split


def step_seconds(
    training: Training, beta: float, eps: float, repeats: int, seed: int
) -> tuple[float, float]:
    """Return the median seconds of a training step with BANG and of a plain one, in turns."""
    batch = training.images("train", training.batch_size).load()
    losses = loss_of(training, beta, eps, False), loss_of(training, 1.0, 0.0, False)
    steps = [_step(training, loss, batch, seed) for loss in losses]
    balanced, plain = median_seconds(steps, repeats)
    return balanced, plain


def _step(training: Training, loss: Loss, batch: Split, seed: int) -> Callable[[], None]:
    with initial_weights(seed):
        model = build(training).to(device()).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=training.momentum)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model, *batch).backward()
        optimizer.step()

    return step
