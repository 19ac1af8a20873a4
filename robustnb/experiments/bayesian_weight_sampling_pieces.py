"""What Zhang & Chen (2020) train, attack and measure, in pieces that are computed once."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.checkpoint import History
from robustnb.data import load
from robustnb.defenses.bayesian import BayesianLinear, NegativeELBO, sample_logits
from robustnb.experiments.pieces import Piece, result, unfinished
from robustnb.metrics import accuracy, distortion
from robustnb.models import fully_connected, predict
from robustnb.pruning import prune
from robustnb.randomness import initial_weights, seeded
from robustnb.training import (
    Loss,
    RegularizedCrossEntropy,
    Score,
    Split,
    fit,
    score_accuracy,
)

DEFENDER = "FC-100-100-10"
PIXEL_RANGE = 2.0  # section 3.1: images are scaled to 0..2
UNCLIPPED = MinimumNorm(clip=False)
WHITE_BOX = PGD(eps=0.05, alpha=0.01, steps=20)  # 0.1 on the paper's scale of 0..2
TABLE_RHO_INIT = -3.0  # Tables 3 and 4 are about the network that is best in Table 2


@dataclass(frozen=True)
class Training:
    """Say how a network is trained (section 3.2)."""

    dataset: str
    lr: float
    momentum: float = 0.95
    batch_size: int = 128
    epochs: int = 100
    patience: int = 5


@dataclass(frozen=True)
class Protocol:
    """Say what is trained, attacked and measured; the defaults are the paper's.

    What the paper leaves open is decided here without a look at any transfer result: the ELBO is
    scaled as Blundell et al. (2015) do, under which the paper's learning rate of 0.001 leaves its
    own initialisation at chance, so the variational networks get a tenth of it; perturbed pixels
    are not clipped, since eq. (5) has no box.
    """

    plain: Training = Training("mnist", lr=1e-3)
    bayesian: Training = Training("mnist", lr=1e-4)
    attack: MinimumNorm = UNCLIPPED
    rho_inits: tuple[float, ...] = (-30.0, -10.0, -4.0, -3.0, -2.5, -2.0, -1.5)
    lambdas: tuple[str, ...] = ("0", "1e-4", "1e-2", "1")
    sources: tuple[str, ...] = ("FC-10", "FC-200-200-10", "FC-1200-1200-10")
    pruned: tuple[int, ...] = (25, 50, 75, 90, 95, 98)
    ensembles: tuple[int, ...] = (1, 5, 10, 25, 100)
    num_images: int = 10_000
    white_box: PGD = WHITE_BOX
    eot_samples: tuple[int, ...] = (1, 10, 100)
    num_attacked: int = 1_000

    @property
    def dataset(self) -> str:
        """Return the name of the data set that all of it is about."""
        return self.plain.dataset

    @property
    def sets(self) -> dict[str, tuple[str, str]]:
        """Return the network and lambda behind each perturbation set, by the set's name."""
        sources = product(self.sources, self.lambdas)
        return {f"{name} lambda={strength}": (name, strength) for name, strength in sources}


@dataclass(frozen=True)
class Trained:
    """A trained network, its history and the seconds it took."""

    model: nn.Module
    history: History
    seconds: float


@dataclass(frozen=True)
class Perturbed:
    """Perturbed test images, their mean distortion (0..2), and the fooled network's accuracy."""

    images: Tensor
    distortion: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """Accuracy by image set and ensemble size."""

    accuracies: dict[str, dict[int, float]]
    seconds: float


def train_plain(training: Training, name: str, strength: str, seed: int) -> Trained:
    """Train the network `name` with L2 regularisation of the given lambda (eq. 6)."""
    with initial_weights(seed):
        model = fully_connected(name, scale=PIXEL_RANGE)
    return train_network(
        training, model, RegularizedCrossEntropy(float(strength)), score_accuracy, seed
    )


def train_bayesian(training: Training, rho_init: float, seed: int) -> Trained:
    """Train the variational network from a constant rho_init (section 3.2)."""
    images, _ = load(training.dataset).split("train")
    loss = NegativeELBO(num_batches=math.ceil(len(images) / training.batch_size))
    return train_network(training, variational_network(rho_init, seed), loss, score_draws, seed)


def variational_network(rho_init: float, seed: int) -> nn.Sequential:
    """Return the variational network before its training, the same for the same seed."""
    with initial_weights(seed):
        layer = partial(BayesianLinear, rho_init=rho_init)
        return fully_connected(DEFENDER, scale=PIXEL_RANGE, layer=layer)


def score_draws(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the mean accuracy of three weight draws: one is too noisy to stop early by."""
    return accuracy(sample_logits(model, images, num_samples=3), labels)


def train_network(
    training: Training, model: nn.Module, loss: Loss, score: Score, seed: int
) -> Trained:
    """Train a network as `training` says, on its data set, in an order drawn from `seed`."""
    dataset = load(training.dataset)
    history = fit(
        model,
        dataset.split("train"),
        dataset.split("validation"),
        optimizer=torch.optim.SGD(model.parameters(), training.lr, training.momentum),
        loss=loss,
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=training.patience,
        score=score,
        generator=seeded(seed),
        checkpoint=unfinished(),
        progress=False,
    )
    return Trained(model, history, sum(row["seconds"] for row in history))


def perturb(
    training: Training, attack: MinimumNorm, num_images: int, name: str, strength: str, seed: int
) -> Perturbed:
    """Perturb test images until the network `name` with this lambda is fooled (eq. 5)."""
    source = _plain(training, name, strength, seed).model
    return fool(source, training.dataset, attack, num_images)


def fool(source: nn.Module, dataset: str, attack: MinimumNorm, num_images: int) -> Perturbed:
    """Perturb test images until `source` is fooled, and say how much and how well."""
    started = time.perf_counter()
    images, labels = images_to_perturb(dataset, num_images)
    perturbed = attack(source, images, labels)
    return Perturbed(
        perturbed,
        PIXEL_RANGE * distortion(perturbed - images).mean().item(),
        accuracy(predict(source, perturbed), labels),
        time.perf_counter() - started,
    )


def images_to_perturb(dataset: str, num_images: int) -> Split:
    """Return the first `num_images` test images and their labels."""
    images, labels = load(dataset).split("test")
    return images[:num_images], labels[:num_images]


def evaluate_plain(protocol: Protocol, strength: str, seed: int) -> Evaluated:
    """Measure a plain network of the defender's size on clean and on perturbed images."""
    return evaluate_pass(plain_network(protocol, strength, seed).model, protocol, seed)


def evaluate_pass(model: nn.Module, protocol: Protocol, seed: int) -> Evaluated:
    """Measure one pass of a network that draws nothing, on every image set."""
    started, sets = time.perf_counter(), image_sets(protocol, seed)
    accuracies = {name: {1: score_accuracy(model, *images)} for name, images in sets}
    return Evaluated(accuracies, time.perf_counter() - started)


def evaluate_bayesian(protocol: Protocol, rho_init: float, rate: int, seed: int) -> Evaluated:
    """Measure ensembles of weight draws after pruning `rate` percent of the weights."""
    model = prune(bayesian_network(protocol, rho_init, seed).model, rate / 100)
    return evaluate_draws(model, protocol, seed)


def evaluate_draws(model: nn.Module, protocol: Protocol, seed: int) -> Evaluated:
    """Measure ensembles of a network's weight draws on every image set."""
    started, generator, accuracies = time.perf_counter(), seeded(seed), {}
    for name, (images, labels) in image_sets(protocol, seed):
        logits = sample_logits(model, images, max(protocol.ensembles), generator)
        draws = logits.softmax(-1)
        accuracies[name] = {n: ensemble_accuracy(draws, labels, n) for n in protocol.ensembles}
    return Evaluated(accuracies, time.perf_counter() - started)


def attack_white_box(protocol: Protocol, rho_init: float, eot_samples: int, seed: int) -> Evaluated:
    """Attack a variational network itself, with gradients averaged over `eot_samples` draws."""
    model = bayesian_network(protocol, rho_init, seed).model
    started = time.perf_counter()
    images, labels = images_to_perturb(protocol.dataset, protocol.num_attacked)
    attack = replace(protocol.white_box, eot_samples=eot_samples)
    # The attacker's draws are not the defender's.
    found = attack(model, images, labels, seeded(1_000 + seed))
    draws = sample_logits(model, found, max(protocol.ensembles), seeded(seed)).softmax(-1)
    scores = {n: ensemble_accuracy(draws, labels, n) for n in protocol.ensembles}
    return Evaluated({"white-box": scores}, time.perf_counter() - started)


def attack_plain_white_box(protocol: Protocol, strength: str, seed: int) -> Evaluated:
    """Attack a plain network of the defender's size itself."""
    model = plain_network(protocol, strength, seed).model
    started = time.perf_counter()
    images, labels = images_to_perturb(protocol.dataset, protocol.num_attacked)
    found = protocol.white_box(model, images, labels, seeded(1_000 + seed))
    scores = {1: score_accuracy(model, found, labels)}
    return Evaluated({"white-box": scores}, time.perf_counter() - started)


def ensemble_accuracy(draws: Tensor, labels: Tensor, size: int) -> float:
    """Return the mean accuracy of the S / `size` ensembles in S draws (S, N, classes) (eq. 7).

    At size 1 it is the mean over single draws, which the paper calls 100 random runs.
    """
    scores = [accuracy(ensemble.mean(0), labels) for ensemble in draws.split(size)]
    return sum(scores) / len(scores)


def image_sets(protocol: Protocol, seed: int) -> Iterator[tuple[str, Split]]:
    """Yield the clean splits and every perturbation set, each with its name and labels."""
    dataset = load(protocol.dataset)
    yield "validation", dataset.split("validation")
    yield "test", dataset.split("test")
    _, labels = images_to_perturb(protocol.dataset, protocol.num_images)
    for name in protocol.sets:
        yield name, (perturbation_set(protocol, name, seed).images, labels)


# Pieces: each of the calls below is computed once and then found on disk.


def plain_network(protocol: Protocol, strength: str, seed: int) -> Trained:
    """Return the plain network of the defender's size with this lambda."""
    return _plain(protocol.plain, DEFENDER, strength, seed)


def bayesian_network(protocol: Protocol, rho_init: float, seed: int) -> Trained:
    """Return the variational network that started from this rho_init."""
    trained: Trained = result(bayesian_piece(protocol, rho_init, seed))
    return trained


def perturbation_set(protocol: Protocol, name: str, seed: int) -> Perturbed:
    """Return a set by its name in Table 2, such as "FC-10 lambda=0"."""
    made: Perturbed = result(perturbed_piece(protocol, name, seed))
    return made


def evaluated(protocol: Protocol, column: str, seed: int) -> Evaluated:
    """Return the accuracies behind a column of the tables, by the column's name."""
    found: Evaluated = result(evaluated_pieces(protocol, seed)[column])
    return found


def _plain(training: Training, name: str, strength: str, seed: int) -> Trained:
    trained: Trained = result(plain_piece(training, name, strength, seed))
    return trained


def plain_piece(training: Training, name: str, strength: str, seed: int) -> Piece:
    return Piece(train_plain, (training, name, strength, seed), cost=num_weights(name))


def bayesian_piece(protocol: Protocol, rho_init: float, seed: int) -> Piece:
    arguments = (protocol.bayesian, rho_init, seed)
    return Piece(train_bayesian, arguments, cost=2 * num_weights(DEFENDER))


def perturbed_piece(protocol: Protocol, name: str, seed: int) -> Piece:
    network, strength = protocol.sets[name]
    arguments = (protocol.plain, protocol.attack, protocol.num_images, network, strength, seed)
    return Piece(perturb, arguments, cost=num_weights(network) / 10)


def evaluated_pieces(protocol: Protocol, seed: int) -> dict[str, Piece]:
    plain, bayesian = partial(Piece, evaluate_plain), partial(Piece, evaluate_bayesian)
    cost = len(protocol.sets) * max(protocol.ensembles) * num_weights(DEFENDER) / 1000
    return (
        {standard_column(s): plain((protocol, s, seed)) for s in protocol.lambdas}
        | {bayesian_column(r): bayesian((protocol, r, 0, seed), cost) for r in protocol.rho_inits}
        | {
            pruned_column(rate): bayesian((protocol, TABLE_RHO_INIT, rate, seed), cost)
            for rate in protocol.pruned
        }
    )


def white_box_pieces(protocol: Protocol, seed: int) -> dict[tuple[str, int], Piece]:
    """Name every white-box attack as a piece, by the network's column and the EOT samples."""
    plain, bayesian = partial(Piece, attack_plain_white_box), partial(Piece, attack_white_box)
    cost = 10 * num_weights(DEFENDER) / 1000
    attacked = product(protocol.rho_inits, protocol.eot_samples)
    return {(standard_column(s), 1): plain((protocol, s, seed), cost) for s in protocol.lambdas} | {
        (bayesian_column(r), k): bayesian((protocol, r, k, seed), k * cost) for r, k in attacked
    }


def num_weights(name: str) -> int:
    """Return the number of weights and biases of a network, by which its pieces' costs go."""
    return sum(p.numel() for p in fully_connected(name).parameters())


def standard_column(strength: str) -> str:
    """Return the name of a plain network's column in Tables 1 and 2."""
    return f"standard lambda={strength}"


def bayesian_column(rho_init: float) -> str:
    """Return the name of a variational network's column in Tables 1 and 2."""
    return f"bayesian rho_init={rho_init:g}"


def pruned_column(rate: int) -> str:
    """Return the name of a column in Table 4."""
    return f"pruned {rate}%"
