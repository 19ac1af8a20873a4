"""Signs that take attacks of their own: do they converge, and does a larger eps help them?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import averaged_gradient, in_ball, project, steepest
from robustnb.auditing import signs
from robustnb.auditing.active_test import share_found
from robustnb.auditing.network import Network, asked
from robustnb.auditing.outcome import COUNTED, drop, right_answers
from robustnb.auditing.signs import Sign
from robustnb.checks import logits_of
from robustnb.models import evaluating
from robustnb.randomness import noise_from, seeded

COPIES = 64  # changed copies of the active test
WANDERING = 20  # steps of a PGD that does not keep its best


@dataclass(frozen=True)
class Bench:
    """What trials are made on: a network, probes that it reads rightly, and an attack."""

    network: Network
    images: Tensor
    labels: Tensor
    attack: APGD
    draws: int
    seed: int

    def right(self, attack: APGD, network: nn.Module | None = None) -> Tensor:
        """Return the right answers (D, N) under an attack, made on another `network` if given."""
        generator = seeded(self.seed, self.images.device)
        found = attack(network or self.network, self.images, self.labels, generator)
        return right_answers(
            self.network, found, self.labels, self.draws, len(found), COUNTED + self.seed
        )


def trials(bench: Bench) -> dict[str, Callable[[], Iterator[Sign]]]:
    """Name each trial and what makes its signs."""
    found: dict[str, Callable[[], Iterator[Sign]]] = {
        "fewer steps and larger eps": lambda: _strength(bench),
        "scale of the logits": lambda: _scale(bench),
        "active test": lambda: _active(bench),
    }
    if bench.attack.eot_samples > 1:
        found["one draw a step"] = lambda: _single(bench)
    else:
        found["best and last iterate"] = lambda: _last(bench)
    return found


def _strength(bench: Bench) -> Iterator[Sign]:
    attack = bench.attack
    once = bench.right(attack)
    half = bench.right(replace(attack, steps=max(attack.steps // 2, 1)))
    yield signs.STEPS.on(*drop(half, once))
    yield signs.RESTARTS.on(*drop(once, bench.right(replace(attack, restarts=2))))
    nearer = bench.right(replace(attack, eps=attack.eps / 2))
    yield signs.LARGER.on(*drop(once, nearer))
    anywhere = 1.0 if attack.norm == "linf" else bench.images[0].numel() ** 0.5
    unbounded = bench.right(replace(attack, eps=anywhere)).float().mean(0)
    chance = 1 / asked(bench.network, bench.images[:1], 0).shape[1]
    error = (chance * (1 - chance) / len(unbounded)) ** 0.5
    yield signs.UNBOUNDED.on(max(0.0, unbounded.mean().item() - chance), error)


def _scale(bench: Bench) -> Iterator[Sign]:
    attack = replace(bench.attack, loss="cross-entropy", targets=0)
    logits = asked(bench.network, bench.images, 0)
    finite = logits[logits.isfinite()]
    other = Rescaled(bench.network, finite.mean().item(), finite.std().item())
    yield signs.SCALE.on(*drop(bench.right(attack), bench.right(attack, other)))


def _single(bench: Bench) -> Iterator[Sign]:
    single = bench.right(replace(bench.attack, eot_samples=1))
    yield signs.SINGLE.on(*drop(single, bench.right(bench.attack)))


def _active(bench: Bench) -> Iterator[Sign]:
    attack = replace(bench.attack, targets=0, early_stop=False)
    found = share_found(attack, bench.network, bench.images[:COPIES], bench.seed)
    if found is not None:
        least, copies = signs.ACTIVE.threshold, min(COPIES, len(bench.images))
        yield signs.ACTIVE.on(found, (least * (1 - least) / copies) ** 0.5)


def _last(bench: Bench) -> Iterator[Sign]:
    """Walk by PGD, and count images that fool on the way and not at its end."""
    network, images, labels = bench.network, bench.images, bench.labels
    eps, norm = bench.attack.eps, bench.attack.norm
    generator = seeded(bench.seed, images.device)
    passed = torch.zeros_like(labels, dtype=torch.bool)
    with evaluating(network), noise_from(network, generator):
        at = project(images + in_ball(images, eps, norm, generator), images, eps, norm)
        for step in range(WANDERING + 1):
            with torch.no_grad():
                fooled = logits_of(network, at).argmax(1) != labels
            passed |= fooled
            if step < WANDERING:
                gradient = averaged_gradient(network, at, labels, "cross-entropy", 1)
                at = project(at + eps / 4 * steepest(gradient, norm), images, eps, norm)
    yield signs.LAST.on((passed & ~fooled).float().mean().item())


class Rescaled(nn.Module):
    """Shift and divide the logits of a network, which changes no answer."""

    def __init__(self, network: nn.Module, shift: float, divisor: float) -> None:
        super().__init__()
        self.network, self.shift, self.divisor = network, shift, divisor or 1.0

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) whose size is about 1."""
        logits: Tensor = self.network(images)
        return (logits - self.shift) / self.divisor
