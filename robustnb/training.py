"""One loop that trains every network of the book."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm.auto import tqdm

from robustnb.checkpoint import History, Run
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.randomness import noise_from

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Score = Callable[[nn.Module, Tensor, Tensor], float]
Watch = Callable[[nn.Module], dict[str, float]]
Split = tuple[Tensor, Tensor]
SAVE_EVERY = 10.0  # seconds: a short epoch takes no longer than writing the network


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN; the message names the step and the likely cause."""


def cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of a minibatch."""
    return F.cross_entropy(model(images), labels)


@dataclass(frozen=True)
class RegularizedCrossEntropy:
    """Add lambda * sum over layers of (1 / units) * sum of squared weights (Zhang & Chen, eq. 6).

    `strength` is the paper's lambda; biases are left out, and a layer's units are its outputs.
    """

    strength: float

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a minibatch plus the penalty."""
        loss = cross_entropy(model, images, labels)
        if not self.strength:
            return loss
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not layers:
            raise ValueError("the network has no nn.Linear, whose weights could be penalised.")
        penalty = torch.stack([m.weight.square().sum() / m.out_features for m in layers]).sum()
        return loss + self.strength * penalty


def score_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy of one pass in evaluation mode."""
    return accuracy(predict(model, images), labels)


def watch_nothing(_: nn.Module) -> dict[str, float]:
    """Return no numbers: `fit` adds none to its history."""
    return {}


def fit(
    model: nn.Module,
    train: Split,
    validation: Split,
    *,
    optimizer: Optimizer,
    scheduler: LRScheduler | None = None,
    loss: Loss = cross_entropy,
    batch_size: int = 128,
    epochs: int = 100,
    patience: int | None = 5,
    score: Score = score_accuracy,
    watch: Watch = watch_nothing,
    keep: Literal["best", "last"] = "best",
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    description: str = "training",
    progress: bool = True,
) -> History:
    """Train `model` in place and leave it in evaluation mode with its best weights on validation.

    Training stops after `epochs`, or after `patience` epochs in a row without a better score (None:
    never). With `keep="last"` the weights are those of the last epoch. A `scheduler` of the
    learning rate takes a step after every minibatch. Returns a row for each epoch: `epoch`,
    `train_loss` (mean over minibatches), `validation_accuracy`, `seconds`, and the numbers that
    `watch` returns for the network.

    Shuffling and stochastic layers draw from `generator`; other layers, such as nn.Dropout, are
    seeded by it, and torch's global state is left as it was. With `checkpoint` the run is saved
    there after an epoch, at most every SAVE_EVERY seconds, and at the end; an interrupted run
    resumes from there to the same weights. Raises TrainingDiverged at the first loss that is not
    finite.
    """
    _check_arguments(train, validation, batch_size, epochs)
    run = Run(model, optimizer, generator or torch.Generator().manual_seed(0), scheduler)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint)
    bar = tqdm(total=epochs, initial=len(run.history), desc=description, disable=not progress)
    with bar, noise_from(model, run.generator):
        while not _finished(run.history, epochs, patience):
            started = time.perf_counter()
            with _own_draws(run):
                train_loss = _epoch(run, train, loss, batch_size)
            accuracy_now = score(model, *validation)
            seconds = time.perf_counter() - started
            run.record(accuracy_now, train_loss=train_loss, seconds=seconds, **watch(model))
            over = _finished(run.history, epochs, patience)
            if checkpoint is not None and (over or run.unsaved_seconds >= SAVE_EVERY):
                run.save(checkpoint)
            bar.update()
            bar.set_postfix(loss=f"{train_loss:.3f}", validation=f"{run.best_score:.2%}")
    if keep == "best":
        model.load_state_dict(run.best_weights)
    model.eval()
    return run.history


@contextmanager
def _own_draws(run: Run) -> Iterator[None]:
    """Seed layers that take no generator, such as nn.Dropout, so that a resumed run is the same."""
    with torch.random.fork_rng():
        torch.manual_seed(run.generator.initial_seed() + len(run.history))
        yield


def _epoch(run: Run, train: Split, loss: Loss, batch_size: int) -> float:
    images, labels = train
    run.model.train()
    total, batches = 0.0, _shuffled(len(images), batch_size, run.generator)
    for number, batch in enumerate(batches, 1):
        run.optimizer.zero_grad(set_to_none=True)
        value = loss(run.model, images[batch], labels[batch])
        total += value.item()
        if not math.isfinite(total):
            step = len(run.history) * len(batches) + number
            raise TrainingDiverged(_diagnosis(run, images[batch], step, value.item()))
        value.backward()
        run.optimizer.step()
        if run.scheduler is not None:
            run.scheduler.step()
    return total / len(batches)


def _shuffled(count: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order.split(batch_size)


def _diagnosis(run: Run, images: Tensor, step: int, value: float) -> str:
    rate = run.optimizer.param_groups[0]["lr"]
    if not images.isfinite().all():
        cause = "the images of this minibatch have pixels that are not finite"
    elif step == 1:
        cause = "the initial weights or the loss itself, since no step has been taken yet"
    else:
        cause = f"too large a learning rate ({rate:g}): try a tenth of it"
    return f"The loss is {value} at step {step}; the likely cause is {cause}."


def _finished(history: History, epochs: int, patience: int | None) -> bool:
    scores = [row["validation_accuracy"] for row in history]
    if len(scores) >= epochs or not scores:
        return len(scores) >= epochs
    return patience is not None and len(scores) - 1 - scores.index(max(scores)) >= patience


def _check_arguments(train: Split, validation: Split, batch_size: int, epochs: int) -> None:
    for name, (images, labels) in {"train": train, "validation": validation}.items():
        if not len(images) or len(images) != len(labels):
            raise ValueError(
                f"The {name} split has {len(images)} images and {len(labels)} labels: "
                "fit needs at least one image, and one label for each."
            )
    if batch_size < 1 or epochs < 1:
        raise ValueError(
            f"batch_size is {batch_size} and epochs {epochs}: both must be at least 1."
        )
