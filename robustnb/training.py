"""One loop that trains every network of the book."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from robustnb.checkpoint import Damaged, History, Run
from robustnb.checks import check_labels, check_one_of, check_whole, logits_of
from robustnb.fingerprint import fingerprint, optimizer_settings, scheduler_settings
from robustnb.metrics import accuracy
from robustnb.models import evaluating, predict
from robustnb.random_sources import random_sources, seeded_sources, states_from
from robustnb.randomness import noise_from, seeded

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
    checkpoint: Path | str | None = None,
    same_images: bool = True,
    description: str = "training",
    progress: bool = True,
) -> History:
    """Train `model` in place and leave it in evaluation mode with its best weights on validation.

    `train` and `validation` are pairs of images (N, ...) and labels (N,), tensors or numpy arrays.
    Training stops after `epochs`, or after `patience` epochs in a row without a better score (None:
    never). With `keep="last"` the weights are those of the last epoch. A `scheduler` of the
    learning rate takes a step after every minibatch. Returns a row for each epoch: `epoch`,
    `train_loss` (mean over minibatches), `validation_accuracy`, `seconds`, and the numbers that
    `watch` returns for the network.

    Shuffling and stochastic layers draw from `generator`; other layers, such as nn.Dropout, are
    seeded by it, and torch's global state is left as it was. With `checkpoint` the run is saved
    there after an epoch, at most every SAVE_EVERY seconds, and at the end; an interrupted run
    resumes from there to the same weights, also to more epochs. A damaged file is put aside, with a
    warning, and the training starts anew. The checkpoint must have the same data, network and
    settings, but the training images may be new with `same_images=False`: then a call for
    epochs that are done changes nothing. Raises TrainingDiverged at the first loss that is not
    finite, and ValueError for what cannot be trained or resumed.
    """
    check_whole(1, batch_size=batch_size, epochs=epochs)
    if patience is not None:
        check_whole(1, patience=patience)
    check_one_of(("best", "last"), keep=keep)
    train, validation = _split("train", train), _split("validation", validation)
    _check_optimizer(model, optimizer, scheduler)
    if loss is cross_entropy or score is score_accuracy:
        _check_classes(model, train, validation)
    run = Run(model, optimizer, generator or torch.Generator().manual_seed(0), scheduler)
    if checkpoint is not None:
        checkpoint = Path(checkpoint).expanduser()
        images = train if same_images else None
        run.parts = _parts(run, images, validation, loss, score, batch_size)
        is_resumed = checkpoint.exists() and _is_resumed(run, checkpoint)
        # With new images, epochs that are done are passed over, each with its own.
        if is_resumed and same_images:
            _check_not_beyond(run, epochs, checkpoint)
    bar = tqdm(total=epochs, initial=len(run.history), desc=description, disable=not progress)
    with bar, noise_from(model, run.generator):
        while not _finished(run.history, epochs, patience):
            started = time.perf_counter()
            with _own_draws(run):
                train_loss = _epoch(run, train, loss, batch_size)
            accuracy_now = _scored(score, model, validation)
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


def _is_resumed(run: Run, checkpoint: Path) -> bool:
    """Resume a run; if its checkpoint is damaged, put that aside, warn, and leave the run as is."""
    try:
        run.load(checkpoint)
    except Damaged as error:
        aside = checkpoint.with_name(f"{checkpoint.name}.damaged")
        checkpoint.replace(aside)  # it may be a file of another kind
        warnings.warn(
            f"{error}: the training starts anew, and what was there is now {aside.name}.",
            stacklevel=3,
        )
        return False
    return True


def _parts(
    run: Run, train: Split | None, validation: Split, loss: Loss, score: Score, batch_size: int
) -> dict[str, str]:
    """Return what makes a run what it is, so that a checkpoint of another one is recognised."""
    return {
        "training set": fingerprint(train),
        "validation set": fingerprint(validation),
        "network": fingerprint(run.model),
        # In a tuple, since the weights of a network inside a loss count.
        "loss": fingerprint((loss,)),
        "score": fingerprint((score,)),
        "optimizer": fingerprint(optimizer_settings(run.optimizer, run.scheduler)),
        "scheduler": fingerprint(scheduler_settings(run.scheduler)),
        "batch size": str(batch_size),
        "seed": str(run.generator.initial_seed()),
    }


@contextmanager
def _own_draws(run: Run) -> Iterator[None]:
    """Seed layers that take no generator, such as nn.Dropout, so that a resumed run is the same."""
    seed = run.generator.initial_seed() + len(run.history)
    sources = random_sources(run.model, run.generator.device)
    others = [source for source in sources if source.owner is not run.generator]
    with seeded_sources(others, states_from(others, seed)):
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
            raise TrainingDiverged(_diagnosis(run, step, value.item()))
        value.backward()
        run.optimizer.step()
        if run.scheduler is not None:
            run.scheduler.step()
    return total / len(batches)


def _shuffled(count: int, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    order = torch.randperm(count, generator=generator, device=generator.device)
    return order.split(batch_size)


def _diagnosis(run: Run, step: int, value: float) -> str:
    rate = run.optimizer.param_groups[0]["lr"]
    if step == 1:
        cause = "the initial weights or the loss itself, since no step has been taken yet"
    else:
        cause = f"too large a learning rate ({rate:g}): try a tenth of it"
    return f"The loss is {value} at step {step}; the likely cause is {cause}."


def _finished(history: History, epochs: int, patience: int | None) -> bool:
    scores = [row["validation_accuracy"] for row in history]
    if len(scores) >= epochs or not scores:
        return len(scores) >= epochs
    return patience is not None and len(scores) - 1 - scores.index(max(scores)) >= patience


def _check_not_beyond(run: Run, epochs: int, checkpoint: Path) -> None:
    if len(run.history) > epochs:
        raise ValueError(
            f"{checkpoint} has {len(run.history)} epochs already, more than epochs={epochs}: ask "
            "for as many or more, delete it to start anew, or give another path."
        )


def _scored(score: Score, model: nn.Module, validation: Split) -> float:
    value = float(score(model, *validation))
    if math.isnan(value):
        raise ValueError("the score on the validation set is NaN: no epoch can be the best.")
    return value


def _split(name: str, given: Any) -> Split:
    """Return images and labels as tensors, labels of any integer type as int64."""
    if isinstance(given, DataLoader | Dataset):
        batches = name if isinstance(given, DataLoader) else f"DataLoader({name}, 1000)"
        raise ValueError(
            f"{name} is a {type(given).__name__}: fit takes tensors, and shuffles them itself. "
            f"Write `images, labels = map(torch.cat, zip(*{batches}))`, which draws random "
            f"transforms once for all epochs, and give (images, labels)."
        )
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(f"{name} is no pair: fit takes (images, labels).")
    images, labels = map(_tensor, given)
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"The {name} split has {len(images)} images and {len(labels)} labels: "
            "fit needs at least one image, and one label for each."
        )
    _check_pixels(name, images)
    is_whole = not (labels.is_floating_point() or labels.is_complex())
    return images, labels.long() if is_whole else labels


def _check_pixels(name: str, images: Tensor) -> None:
    if not images.is_floating_point():
        raise ValueError(
            f"The {name} images are {images.dtype}: fit takes a floating type, as images / 255 are "
            "of bytes."
        )
    if not torch.stack(images.aminmax()).isfinite().all():  # ten times as fast as all pixels
        wrong = (~images.isfinite()).flatten(1).any(1).sum()
        raise ValueError(
            f"{wrong} of {len(images)} {name} images have pixels that are NaN or infinite."
        )


def _tensor(values: Any) -> Tensor:
    """Return a tensor; numpy's float64 becomes torch's default type, as weights are."""
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        return torch.as_tensor(values, dtype=torch.get_default_dtype())
    return torch.as_tensor(values)


def _check_optimizer(model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
    own = {id(weights) for weights in model.parameters()}
    moved = {id(weights) for group in optimizer.param_groups for weights in group["params"]}
    if not own & moved:
        raise ValueError(
            "the optimizer holds no weights of this network: make it from model.parameters()."
        )
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise ValueError("the scheduler is of another optimizer: make it from the one given here.")


def _check_classes(model: nn.Module, *splits: Split) -> None:
    """Raise ValueError if labels are beyond the classes that the network knows."""
    first = splits[0][0][:1]
    # In a fork and with noise of its own, so that training draws what it drew without this pass.
    noise = noise_from(model, seeded(0, first.device))
    with torch.random.fork_rng(), noise, evaluating(model), torch.no_grad():
        logits = logits_of(model, first)
    for _, labels in splits:
        if labels.dim() == 1:  # and not probabilities of the classes
            check_labels(logits[:1].expand(len(labels), -1), labels)
