"""How the networks of Kaspar et al. (2024) are attacked, asked and certified, in pieces."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from robustnb.attacks.black_box import Square, Transfer
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import PGD
from robustnb.defenses.lwta import competitions
from robustnb.defenses.pni import coefficients
from robustnb.defenses.smoothing import certify
from robustnb.experiments.pieces import Piece
from robustnb.experiments.stochastic_lwta_pieces import (
    Through,
    Training,
    network,
    split,
)
from robustnb.models import predict
from robustnb.randomness import noise_from, seeded

REHEARSED = 3  # draws of an attacker who chooses among attacks, for each that is judged


@dataclass(frozen=True)
class Elsewhere:
    """Make `attack` on the network named `source`, which the attacker trained alike."""

    source: str
    attack: Attack


@dataclass(frozen=True)
class NoiseOff:
    """Make `attack` while the injected noise is switched off."""

    attack: Attack

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return what the attack finds."""
        with noise_off(model):
            return self.attack(model, images, labels, generator)


@dataclass(frozen=True)
class Task:
    """Attack a network and ask it `draws` times; with `quiet`, its noise is off when asked."""

    network: str
    attack: Attack | Elsewhere | None
    num_images: int
    draws: int
    quiet: bool = False


@dataclass(frozen=True)
class Answers:
    """The share of draws that read each image rightly (N,), and that in an attacker's rehearsal."""

    shares: Tensor
    rehearsed: Tensor
    seconds: float


def ask(training: Training, task: Task, seed: int) -> Answers:
    """Attack a network as `task` says, and ask it with draws that the attacker does not have."""
    started, model = time.perf_counter(), network(training, task.network, seed)
    images, labels = split(training, "test", task.num_images)
    with noise_off(model) if task.quiet else nullcontext():
        if task.attack is not None:
            attack = _made(training, task.attack, seed)
            images = attack(model, images, labels, seeded(1_000 + seed, images.device))
        shares = shares_right(model, images, labels, task.draws, seed)
        rehearsed = shares_right(model, images, labels, REHEARSED * task.draws, 2_000 + seed)
    return Answers(shares.cpu(), rehearsed.cpu(), time.perf_counter() - started)


def shares_right(model: nn.Module, images: Tensor, labels: Tensor, draws: int, seed: int) -> Tensor:
    """Return the share of `draws` passes that read each image rightly (N,)."""
    number = draws if competitions(model) or coefficients(model) else 1
    shares = torch.zeros(len(images), device=images.device)
    with noise_from(model, seeded(seed, images.device)):
        for _ in range(number):
            shares += (predict(model, images, batch_size=500).argmax(1) == labels) / number
    return shares


def _made(training: Training, attack: Attack | Elsewhere, seed: int) -> Attack:
    if isinstance(attack, Elsewhere):
        return Transfer(network(training, attack.source, seed), attack.attack)
    return attack


@contextmanager
def noise_off(model: nn.Module) -> Iterator[None]:
    """Let no parametric noise of `model` make itself felt inside the block."""
    before = {alpha: alpha.detach().clone() for alpha in coefficients(model).values()}
    for alpha in before:
        alpha.data.zero_()
    try:
        yield
    finally:
        for alpha, value in before.items():
            alpha.data.copy_(value)


def asked_piece(training: Training, task: Task, seed: int) -> Piece:
    return Piece(ask, (training, task, seed), cost=task.num_images * (_passes(task.attack) + 1))


@dataclass(frozen=True)
class Certified:
    """Whether the smoothed network reads an image rightly (N,), and within which radius (N,)."""

    right: Tensor
    radii: Tensor
    num_images: int
    seconds: float


def certify_network(
    training: Training, name: str, num_images: int, draws: int, seed: int
) -> Certified:
    """Certify the network `name` under the noise that Smoothing is trained on (Cohen et al.)."""
    started, model = time.perf_counter(), network(training, name, seed)
    images, labels = split(training, "test", num_images)
    generator = seeded(seed, images.device)
    classes, radii = certify(
        model, images, training.sigma, n0=max(draws // 10, 1), n=draws, generator=generator
    )
    seconds = time.perf_counter() - started
    return Certified((classes == labels).cpu(), radii.cpu(), len(labels), seconds)


def certified_piece(training: Training, name: str, num_images: int, draws: int, seed: int) -> Piece:
    arguments = (training, name, num_images, draws, seed)
    return Piece(certify_network, arguments, cost=num_images * draws / 3)


def _passes(attack: Attack | Elsewhere | None) -> float:
    """Return about how many passes an attack makes, by which the costs go."""
    if isinstance(attack, Through | NoiseOff | Elsewhere):
        return _passes(attack.attack)
    if isinstance(attack, PGD):
        return attack.steps * attack.restarts * attack.eot_samples
    if isinstance(attack, Square):
        return attack.queries * attack.eot_samples / 3
    return 50 if isinstance(attack, CarliniWagner) else 1


def described(attack: Attack | Elsewhere | None) -> dict[str, Any]:
    """Return an attack's name and fields for a row."""
    if attack is None:
        return {}
    fields = asdict(cast(Any, attack))  # all attacks are dataclasses
    inner = getattr(attack, "attack", None)
    nested = {"attack": described(inner)} if inner is not None else {}
    return {"name": type(attack).__name__} | fields | nested
