"""The networks of Rozsa, Günther & Boult (2016): how each is trained, with and without BANG."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from robustnb.checkpoint import History
from robustnb.data import Dataset, load
from robustnb.defenses.bang import BANG
from robustnb.experiments.pieces import Piece, result, unfinished
from robustnb.files import whole
from robustnb.papers.bang.networks import caffe_sgd, cifar10_quick, inverse_decay, lenet
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, cross_entropy, fit

MONITORED = 1_000  # test images of a training curve, by which nothing is chosen


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


@dataclass(frozen=True)
class Network:
    """A network of Tables 1 and 2: `label` as printed, and BANG's two numbers (eps 0: none).

    With `exact` its loss is written so that the gradient in the label's logit does not round to 0.
    """

    label: str
    beta: float = 1.0
    eps: float = 0.0
    exact: bool = False

    @property
    def name(self) -> str:
        """Return the name of its row in the tables."""
        settings = f" beta={self.beta:.2f} epsilon={self.eps:.3f}" if self.eps else ""
        return f"{self.label}{settings}{', exact gradient' * self.exact}"


@dataclass(frozen=True)
class Trained:
    """A trained network, its weights at each stage, a row of history at each, and the seconds."""

    model: nn.Module
    weights: dict[int, dict[str, Tensor]]
    history: History
    seconds: float

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


def train(training: Training, network: Network, seed: int) -> Trained:
    """Train a network for exactly so many iterations.

    The images of a round, from one stage to the next, are those of one pass after the other, in an
    order drawn from `seed`, as are the initial weights. `fit` mixes those of a round anew.
    """
    # The paper says 50,000 images of MNIST; its code trains on all 60,000.
    dataset, weights, history = load(training.dataset, splits="as_published"), {}, []
    with initial_weights(seed):
        model = build(training, dataset)
    with TemporaryDirectory() as elsewhere:
        path = unfinished() or Path(elsewhere) / "training.safetensors"
        for row in _rounds(training, model, _loss(training, network), dataset, seed, path):
            history.append(row)
            if (iteration := int(row["iteration"])) in training.stages:
                weights[iteration] = _kept(model, path.with_name(f"{iteration}.safetensors"))
    return Trained(model, weights, history, sum(row["seconds"] for row in history))


def build(training: Training, dataset: Dataset) -> nn.Module:
    """Return the untrained network, for images of the shape of the data set's."""
    channels, size, classes = *dataset.images.shape[1:3], len(dataset.classes)
    if training.network == "LeNet":
        return lenet(channels, size, classes)
    return cifar10_quick(dataset.split("train")[0].mean(0), channels, size, classes)


def _loss(training: Training, network: Network) -> Loss:
    bang = BANG(network.eps, network.beta, training.misclassified)
    loss: Loss = bang if network.eps else cross_entropy
    if not network.exact:
        return loss
    return lambda model, images, labels: loss(Relative(model, labels), images, labels)


def _rounds(
    training: Training, model: nn.Module, loss: Loss, dataset: Dataset, seed: int, path: Path
) -> Iterator[dict[str, float]]:
    """Train `every` iterations at a time; yield the loss and the test accuracy after each round.

    A round is an epoch to `fit`, which goes on from the one before, kept at `path`.
    """
    (images, labels), test = dataset.split("train"), dataset.split("test")
    optimizer = caffe_sgd(model, training.lr, training.momentum, training.weight_decay)
    scheduler, generator = _decay(training, optimizer), seeded(seed)
    total, size = training.iterations * training.batch_size, training.every * training.batch_size
    for number, some in enumerate(_order(len(images), total, generator).split(size), 1):
        history = fit(
            model,
            (images[some], labels[some]),
            (test[0][:MONITORED], test[1][:MONITORED]),
            optimizer=optimizer,
            scheduler=scheduler,
            loss=loss,
            batch_size=training.batch_size,
            epochs=number,
            patience=None,
            keep="last",
            generator=generator,
            checkpoint=path,
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
    passes = math.ceil(total / count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])[:total]


def _decay(training: Training, optimizer: torch.optim.Optimizer) -> LRScheduler:
    if training.decay == "inverse":
        return inverse_decay(optimizer)
    milestones = [round(share * training.iterations) for share in (0.9, 0.95)]
    return MultiStepLR(optimizer, milestones, gamma=0.1)


def network_piece(training: Training, network: Network, seed: int) -> Piece:
    """Return the training of a network as a piece.

    R1 is R0 from another seed; the networks with BANG start from the weights of R0.
    """
    own_seed = 2 * seed + (network.label == "R1")
    unlabelled = replace(network, label="")
    cost = training.iterations * training.batch_size / 1000
    return Piece(train, (training, unlabelled, own_seed), cost)


def trained(training: Training, network: Network, seed: int) -> Trained:
    """Return a trained network."""
    found: Trained = result(network_piece(training, network, seed))
    return found
