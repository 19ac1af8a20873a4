"""How the networks of Rozsa, Günther & Boult (2016) are trained, with and without BANG."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from robustnb.checkpoint import History
from robustnb.defenses.bang import BANG
from robustnb.devices import device
from robustnb.files import whole
from robustnb.papers.bang.networks import caffe_sgd, cifar10_quick, inverse_decay, lenet
from robustnb.papers.images import Images, loaded
from robustnb.papers.pieces import unfinished
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, cross_entropy, fit

SPLITS = "as_published"  # for MNIST the paper says 50,000, its code trains on all 60,000
MONITORED = 1_000  # test images of a training curve, by which nothing is chosen
BATCH = 250  # images a pass when a trained network is evaluated


@dataclass(frozen=True)
class Training:
    """Say how a network is trained (sections 4.1 and 4.2, and the authors' code).

    The learning rate falls as `(1 + 1e-4 t) ** -0.75` ("inverse"), or to a tenth after 90% of the
    iterations and again after 95% ("steps"). `misclassified` is BANG's factor of that name. The
    weights are kept at the iterations in `stages`, the last among them; all are multiples of
    `every`, which is how often the history gets a row.
    """

    dataset: str
    network: Literal["LeNet", "CIFAR-10 quick"]
    iterations: int
    batch_size: int
    lr: float
    weight_decay: float
    decay: Literal["inverse", "steps"]
    misclassified: float
    stages: tuple[int, ...]
    every: int
    momentum: float = 0.9

    def images(self, which: str, num_images: int | None = None) -> Images:
        """Return which images the first `num_images` of a split are (all unless told)."""
        return Images(self.dataset, SPLITS, which, num_images)


@dataclass(frozen=True)
class Trained:
    """A trained network, its weights at each stage, and a row of history for each round."""

    model: nn.Module
    weights: dict[int, dict[str, Tensor]]
    history: History

    @property
    def seconds(self) -> float:
        """Return how long the training took."""
        return sum(row["seconds"] for row in self.history)

    def at(self, iteration: int) -> nn.Module:
        """Return the network as it was after this iteration."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.weights[iteration])
        return model


class Relative(nn.Module):
    """Return logits less that of the label, which changes neither softmax nor cross-entropy.

    The cross-entropy's gradient in a label's logit is p - 1, which float32 rounds to 0 long before
    those in the other logits, so that they no longer sum to 0. Through the difference it is minus
    their sum, whatever its size.
    """

    def __init__(self, model: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.model, self.labels = model, labels

    def forward(self, images: Tensor) -> Tensor:
        """Return the differences (N, classes) to the logit of each image's label."""
        logits: Tensor = self.model(images)
        return logits - logits.gather(1, self.labels.unsqueeze(1))


def train(training: Training, beta: float, eps: float, exact: bool, seed: int) -> Trained:
    """Train a network for exactly so many iterations, with BANG unless `eps` is 0.

    With `exact` the loss is written so that the gradient in the label's logit does not round to 0.
    The images of a round, which is `every` iterations, are those of one pass after the other, in
    an order drawn from `seed`, as are the initial weights. `fit` mixes those of a round anew.
    """
    with initial_weights(seed):
        model = build(training).to(device())
    loss, weights, history = loss_of(training, beta, eps, exact), {}, []
    with TemporaryDirectory() as elsewhere:
        path = unfinished() or Path(elsewhere) / "training.safetensors"
        for row in _rounds(training, model, loss, seed, path):
            history.append(row)
            if (iteration := int(row["iteration"])) in training.stages:
                weights[iteration] = _kept(model, path.with_name(f"{iteration}.safetensors"))
    return Trained(model.cpu(), weights, history)


def build(training: Training) -> nn.Module:
    """Return the untrained network, for images of the shape of the data set's."""
    dataset = loaded(training.dataset, SPLITS)
    channels, size, classes = *dataset.images.shape[1:3], len(dataset.classes)
    if training.network == "LeNet":
        return lenet(channels, size, classes)
    return cifar10_quick(dataset.split("train")[0].mean(0), channels, size, classes)


def loss_of(training: Training, beta: float, eps: float, exact: bool) -> Loss:
    """Return the loss that `train` minimises."""
    loss: Loss = BANG(eps, beta, training.misclassified) if eps else cross_entropy
    if not exact:
        return loss
    return lambda model, images, labels: loss(Relative(model, labels), images, labels)


def _rounds(
    training: Training, model: nn.Module, loss: Loss, seed: int, path: Path
) -> Iterator[dict[str, float]]:
    """Train `every` iterations at a time; yield the loss and the test accuracy after each round.

    A round is an epoch to `fit`, which goes on from the one before, kept at `path`.
    """
    images, labels = training.images("train").load()
    test = training.images("test", MONITORED).load()
    optimizer = caffe_sgd(model, training.lr, training.momentum, training.weight_decay)
    scheduler, generator = _decay(training, optimizer), seeded(seed, device())
    total, size = training.iterations * training.batch_size, training.every * training.batch_size
    for number, some in enumerate(_order(len(images), total, generator).split(size), 1):
        history = fit(
            *(model, (images[some], labels[some]), test),
            optimizer=optimizer,
            scheduler=scheduler,
            loss=loss,
            batch_size=training.batch_size,
            epochs=number,
            patience=None,
            keep="last",
            generator=generator,
            checkpoint=path,
            same_images=False,
            progress=False,
        )
        iteration = min(number * training.every, training.iterations)
        yield {"iteration": float(iteration), **history[number - 1]}


def _kept(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Return the weights at a stage, which are on the disk if the training is past it."""
    if not path.exists():
        with whole(path) as part:
            save_file({name: w.contiguous() for name, w in model.state_dict().items()}, part)
    return load_file(path)


def _order(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Return `total` indices below `count`: every one of them once, then again."""
    draw = partial(torch.randperm, count, generator=generator, device=generator.device)
    return torch.cat([draw() for _ in range(math.ceil(total / count))])[:total]


def _decay(training: Training, optimizer: torch.optim.Optimizer) -> LRScheduler:
    if training.decay == "inverse":
        return inverse_decay(optimizer)
    milestones = [round(share * training.iterations) for share in (0.9, 0.95)]
    return MultiStepLR(optimizer, milestones, gamma=0.1)
