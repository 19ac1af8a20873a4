"""What Kaspar, Hicheur & Bourdrez (2024) train and measure, in pieces that are computed once."""

import statistics
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.checkpoint import History
from robustnb.data import load
from robustnb.defenses.adversarial_training import Adversarial, InputNoise, Mixture
from robustnb.defenses.lwta import Mode, WinnerTakesAll, competitions, winners_by
from robustnb.defenses.pni import PNIConv2d, PNILinear, coefficients, parameter_groups
from robustnb.experiments.pieces import Piece, result, unfinished
from robustnb.models import predict
from robustnb.papers.stochastic_lwta.networks import small_convolutional, wide_resnet
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.training import Loss, Split, cross_entropy, fit

PAPER = "stochastic-lwta"
Architecture = Literal["WRN-34-1", "small CNN"]

REGULAR, NOISE, SMOOTHING = "Regular training", "Noise Injection", "Smoothing"
MIXED = "Smoothing, PGD, FGSM, CW"
MIXED_NOISE = f"{MIXED} + Noise Injection"
LWTA = "Stochastic LWTA"
TUNED = "PGD adversarial training"
SMOOTH_LWTA = "Stochastic LWTA, smooth gradients"

UNITS = 2  # in a block, as in the authors' code
HOT, COLD = 0.67, 0.01  # its temperature in training and in tests
REPORTED = PGD(eps=8 / 255, alpha=0.007, steps=20)
SHORT = CarliniWagner(c=1.0, steps=10)


@dataclass(frozen=True)
class Network:
    """What sets a network apart: the attacks that it is trained on, and its stochastic parts.

    Each minibatch meets one of `attacks` or none (section 3.1), or with `always` the first of them.
    With `winners` blocks compete in ReLU's place, and the attacks in training see their mask as
    `winners` says: "relaxed" at the temperature of the tests, as in the authors' code, or "mean".
    """

    attacks: tuple[str, ...] = ()
    always: bool = False
    noise_injection: bool = False
    winners: Mode | None = None


# The eight rows of Table 1, and two networks of our own.
NETWORKS = {
    REGULAR: Network(),
    NOISE: Network(noise_injection=True),
    SMOOTHING: Network(("Smoothing",)),
    "Smoothing, PGD": Network(("Smoothing", "PGD")),
    "Smoothing, PGD, FGSM": Network(("Smoothing", "PGD", "FGSM")),
    MIXED: Network(("Smoothing", "PGD", "FGSM", "CW")),
    MIXED_NOISE: Network(("Smoothing", "PGD", "FGSM", "CW"), noise_injection=True),
    LWTA: Network(("PGD",), always=True, winners="relaxed"),
    TUNED: Network(("PGD",), always=True),
    SMOOTH_LWTA: Network(("PGD",), always=True, winners="mean"),
}
PRINTED = tuple(NETWORKS)[:8]


@dataclass(frozen=True)
class Training:
    """Say on what and how networks are trained; the defaults are the report's (section 4).

    It does not say how its first seven networks are trained: here as the eighth, whose eps, steps
    and learning rate it gives. Momentum, decay and batch are those of the authors' code. `side`
    shrinks images to so many pixels a side. `sigma` is that of the noise called Smoothing.
    """

    dataset: str = "cifar10"
    side: int | None = None
    architecture: Architecture = "WRN-34-1"
    num_images: int = 49_000
    num_validation: int = 1_000
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2e-4
    schedule: Literal["constant", "one-cycle"] = "constant"
    batch_size: int = 128
    epochs: int = 30
    pgd: PGD = REPORTED
    carlini_wagner: CarliniWagner = SHORT
    sigma: float = 0.12


@dataclass(frozen=True)
class Trained:
    """A network on the CPU, its history, its mean |alpha| by layer before and after each epoch."""

    model: nn.Module
    history: History
    strengths: list[dict[str, float]]
    num_images: int
    seconds: float


def device() -> torch.device:
    """Return the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build(training: Training, name: str) -> nn.Sequential:
    """Build the network `name` with the weights that torch's generator draws."""
    network = NETWORKS[name]
    parts: dict[str, Any] = {"in_channels": split(training, "test", 1)[0].shape[1]}
    if network.winners is not None:
        parts["activation"] = partial(WinnerTakesAll, UNITS, "relaxed", HOT)
    if network.noise_injection:
        parts |= {"conv": PNIConv2d, "linear": PNILinear}
    make = wide_resnet if training.architecture == "WRN-34-1" else small_convolutional
    return make(**parts)


def split(training: Training, which: str, num_images: int) -> Split:
    """Return the first images of a split on the device; validation is the end of training."""
    images, labels = _whole_split(training.dataset, "test" if which == "test" else "train")
    part = slice(-num_images, None) if which == "validation" else slice(num_images)
    images, labels = images[part].to(device()), labels[part].to(device())
    if training.side is not None:
        images = F.adaptive_avg_pool2d(images, training.side)
    return images, labels


@cache
def _whole_split(dataset: str, which: str) -> Split:
    return load(dataset, splits="as_published").split(which)


def tuned(training: Training, name: str) -> Training:
    """Return how the network `name` is trained: our own rate of learning rises and falls."""
    return replace(training, schedule="one-cycle") if name == TUNED else training


def train(training: Training, name: str, seed: int) -> Trained:
    """Train the network `name` and leave its blocks as cold as the authors' tests have them."""
    training, generator = tuned(training, name), seeded(seed, device())
    with initial_weights(seed):
        model = build(training, name).to(device())
    before = _strengths(model)
    history = fit(
        model,
        split(training, "train", training.num_images),
        split(training, "validation", training.num_validation),
        loss=loss(training, name, generator),
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=None,
        watch=_strengths,
        keep="last",
        generator=generator,
        checkpoint=unfinished(),
        progress=False,
        **_optimization(training, model),
    )
    for layer in competitions(model):
        layer.temperature = COLD
    strengths = [{layer: row[layer] for layer in before} for row in (before, *history)]
    seconds = sum(row["seconds"] for row in history)
    return Trained(model.cpu(), history, strengths, training.num_images, seconds)


def _optimization(training: Training, model: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.SGD(
        parameter_groups(model, training.weight_decay), training.lr, training.momentum
    )
    if training.schedule == "constant":
        return {"optimizer": optimizer}
    steps = training.epochs * -(-training.num_images // training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.lr, total_steps=steps, cycle_momentum=False
    )
    return {"optimizer": optimizer, "scheduler": schedule}


def loss(training: Training, name: str, generator: torch.Generator) -> Loss:
    """Return the loss that the network `name` descends on, its attacks drawing from `generator`."""
    network, known = NETWORKS[name], attacks_in_training(training)
    attacks = [known[attack] for attack in network.attacks]
    if network.winners is not None:
        attacks = [Through(attack, network.winners, COLD) for attack in attacks]
    if network.always:
        return Adversarial(attacks[0], generator=generator)
    return Mixture(tuple(attacks), generator=generator) if attacks else cross_entropy


def attacks_in_training(training: Training) -> dict[str, Attack]:
    """Name the attacks of section 3.1."""
    return {
        "Smoothing": InputNoise(training.sigma),
        "PGD": training.pgd,
        "FGSM": FGSM(training.pgd.eps),
        "CW": training.carlini_wagner,
    }


def _strengths(model: nn.Module) -> dict[str, float]:
    return {name: alpha.abs().mean().item() for name, alpha in coefficients(model).items()}


@dataclass(frozen=True)
class Through:
    """Make `attack` while every block masks by `mode`: what it finds is for the true network."""

    attack: Attack
    mode: Mode
    temperature: float

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what the attack finds."""
        with winners_by(model, self.mode, self.temperature):
            return self.attack(model, images, labels, generator)


def trained_piece(training: Training, name: str, seed: int) -> Piece:
    return Piece(train, (training, name, seed), cost=_passes(training, name))


def trained(training: Training, name: str, seed: int) -> Trained:
    """Return a trained network with its history."""
    found: Trained = result(trained_piece(training, name, seed))
    return found


def network(training: Training, name: str, seed: int) -> nn.Module:
    """Return a trained network in evaluation mode, on the device."""
    return trained(training, name, seed).model.to(device())


def _passes(training: Training, name: str) -> float:
    """Return how many passes an image takes in an epoch, by which the costs go."""
    attacked = 1 + training.pgd.steps * (1 if NETWORKS[name].always else 0.2)
    return training.epochs * training.num_images * attacked * (2 if NETWORKS[name].winners else 1)


@dataclass(frozen=True)
class Answered:
    """The class probabilities (N, 10) of one pass over test images, with the labels (N,)."""

    probabilities: Tensor
    labels: Tensor
    num_images: int
    seconds: float


def answer(training: Training, name: str, num_images: int, seed: int) -> Answered:
    """Ask the network `name` once about clean images."""
    started, model = time.perf_counter(), network(training, name, seed)
    images, labels = split(training, "test", num_images)
    with noise_from(model, seeded(seed, images.device)):
        probabilities = predict(model, images, batch_size=500).softmax(1)
    seconds = time.perf_counter() - started
    return Answered(probabilities.cpu(), labels.cpu(), len(labels), seconds)


def answered_piece(training: Training, name: str, num_images: int, seed: int) -> Piece:
    return Piece(answer, (training, name, num_images, seed), cost=num_images)


@dataclass(frozen=True)
class Timed:
    """The milliseconds that an image takes, by the size of its batch."""

    milliseconds: dict[int, float]
    num_images: int
    seconds: float


def take_time(training: Training, name: str, batches: tuple[int, ...], seed: int) -> Timed:
    """Time the network `name` with the weights it starts from, the median of five passes.

    Time on the CPU is that of one core's work, whatever else the machine does.
    """
    started = time.perf_counter()
    with initial_weights(seed):
        model = build(training, name).to(device()).eval()
    images, _ = split(training, "test", max(batches))
    milliseconds = {
        size: 1_000 * statistics.median(_pass(model, images[:size]) for _ in range(5)) / size
        for size in batches
    }
    return Timed(milliseconds, len(images), time.perf_counter() - started)


def _pass(model: nn.Module, images: Tensor) -> float:
    """Return the seconds of a pass, after one that warms up."""
    clock = time.process_time if images.device.type == "cpu" else time.perf_counter
    with torch.no_grad():
        model(images)
        _wait(images)
        started = clock()
        model(images)
        _wait(images)
    return clock() - started


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()


def timed_piece(training: Training, name: str, batches: tuple[int, ...], seed: int) -> Piece:
    return Piece(take_time, (training, name, batches, seed), cost=max(batches))
