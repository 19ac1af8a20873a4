"""How the networks of Kaspar, Hicheur & Bourdrez (2024) are trained."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from robustnb.attacks.common import Attack
from robustnb.checkpoint import History
from robustnb.defenses.adversarial_training import Adversarial, Mixture
from robustnb.defenses.lwta import Mode, WinnerTakesAll, competitions
from robustnb.defenses.pni import PNIConv2d, PNILinear, coefficients, parameter_groups
from robustnb.devices import device
from robustnb.papers.images import Images
from robustnb.papers.pieces import unfinished
from robustnb.papers.stochastic_lwta.networks import small_convolutional, wide_resnet
from robustnb.papers.stochastic_lwta.stand_in import Through
from robustnb.randomness import initial_weights, seeded
from robustnb.training import Loss, Split, cross_entropy, fit

Architecture = Literal["WRN-34-1", "small CNN"]

SPLITS = "as_published"
UNITS = 2  # in a block, as in the authors' code
HOT, COLD = 0.67, 0.01  # the temperature of blocks in training and in tests


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

    @property
    def is_stochastic(self) -> bool:
        """Tell whether two passes over an image may differ."""
        return self.noise_injection or self.winners is not None


@dataclass(frozen=True)
class Training:
    """Say on what and how networks are trained; the defaults are the report's (section 4).

    It does not say how its first seven networks are trained: here as the eighth, whose learning
    rate it gives. Momentum, decay and batch are those of the authors' code. `side` shrinks images
    to so many pixels a side. Validation images are the last of the training part.
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


@dataclass(frozen=True)
class Trained:
    """A network on the CPU, its history, its mean |alpha| by layer before and after each epoch."""

    model: nn.Module
    history: History
    strengths: list[dict[str, float]]


def train(training: Training, network: Network, attacks: tuple[Attack, ...], seed: int) -> Trained:
    """Train a network, and leave its blocks as cold as the authors' tests have them.

    `attacks` are those that `network.attacks` names.
    """
    (images, labels), validation = splits(training)
    generator = seeded(seed, device())
    with initial_weights(seed):
        model = build(training.architecture, network, images.shape[1]).to(device())
    before = noise_strengths(model)
    history = fit(
        *(model, (images, labels), validation),
        loss=loss(network, attacks, generator),
        batch_size=training.batch_size,
        epochs=training.epochs,
        patience=None,
        watch=noise_strengths,
        keep="last",
        generator=generator,
        checkpoint=unfinished(),
        progress=False,
        **optimization(training, model),
    )
    for layer in competitions(model):
        layer.temperature = COLD
    strengths = [{layer: row[layer] for layer in before} for row in (before, *history)]
    return Trained(model.cpu(), history, strengths)


def splits(training: Training) -> tuple[Split, Split]:
    """Return the training and the validation images, each with their labels."""
    images, labels = Images(training.dataset, SPLITS, "train", side=training.side).load()
    first, last = slice(training.num_images), slice(-training.num_validation, None)
    return (images[first], labels[first]), (images[last], labels[last])


def build(architecture: Architecture, network: Network, in_channels: int) -> nn.Sequential:
    """Build a network with the weights that torch's generator draws."""
    parts: dict[str, Any] = {"in_channels": in_channels}
    if network.winners is not None:
        parts["activation"] = partial(WinnerTakesAll, UNITS, "relaxed", HOT)
    if network.noise_injection:
        parts |= {"conv": PNIConv2d, "linear": PNILinear}
    make = wide_resnet if architecture == "WRN-34-1" else small_convolutional
    return make(**parts)


def optimization(training: Training, model: nn.Module) -> dict[str, Any]:
    """Return the optimizer of a training, and the scheduler of its learning rate if it has one."""
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


def loss(network: Network, attacks: tuple[Attack, ...], generator: torch.Generator) -> Loss:
    """Return the loss that a network descends on, its attacks drawing from `generator`."""
    if network.winners is not None:
        attacks = tuple(Through(attack, network.winners, COLD) for attack in attacks)
    if network.always:
        return Adversarial(attacks[0], generator=generator)
    return Mixture(attacks, generator=generator) if attacks else cross_entropy


def noise_strengths(model: nn.Module) -> dict[str, float]:
    """Return the mean |alpha| of each layer with noise injection, by name."""
    return {name: alpha.abs().mean().item() for name, alpha in coefficients(model).items()}
