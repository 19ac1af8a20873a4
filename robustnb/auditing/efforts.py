"""How hard an audit tries: the attacks of each effort, from those that any network should meet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.black_box import RandomNoise, Square, Transfer
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack, Norm
from robustnb.attacks.gradient import FGSM, PGD, project
from robustnb.attacks.stand_in import BPDA, BackwardThrough, Smooth


@dataclass(frozen=True)
class Effort:
    """Say how hard an audit tries.

    `steps` and `restarts` are those of APGD, `targets` the classes that it aims at, `queries`
    those of Square, and `probes` the images on which warning signs are looked for. For a network
    with noise every answer is a mean over `eot_samples` passes, and it is judged on `draws`.
    """

    steps: int
    restarts: int
    targets: int
    queries: int
    probes: int
    eot_samples: int = 1
    draws: int = 1


# AutoAttack has 100 steps, 9 targets and 5,000 queries; with noise 20 passes and no targets.
PLAIN = {
    "quick": Effort(steps=20, restarts=1, targets=4, queries=100, probes=200),
    "standard": Effort(steps=100, restarts=1, targets=9, queries=1_000, probes=500),
    "thorough": Effort(steps=200, restarts=3, targets=9, queries=5_000, probes=1_000),
}
RANDOM = {
    "quick": Effort(
        steps=10, restarts=1, targets=2, queries=30, probes=100, eot_samples=8, draws=5
    ),
    "standard": Effort(
        steps=50, restarts=1, targets=3, queries=200, probes=200, eot_samples=20, draws=10
    ),
    "thorough": Effort(
        steps=100, restarts=2, targets=9, queries=1_000, probes=500, eot_samples=40, draws=20
    ),
}
EFFORTS = tuple(PLAIN)


@dataclass(frozen=True)
class Within:
    """Make `attack`, which knows no bound, and move what it finds into the ball of radius `eps`."""

    attack: Attack
    eps: float
    norm: Norm

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return images within `eps` of `images` (N, C, H, W) in `norm`."""
        found = self.attack(model, images, labels, generator)
        return project(found, images, self.eps, self.norm)


def apgd(effort: Effort, eps: float, norm: Norm) -> APGD:
    """Return APGD on the margin, at the steps of an effort."""
    return APGD(eps, effort.steps, loss="margin", norm=norm, eot_samples=effort.eot_samples)


def white_box(effort: Effort, eps: float, norm: Norm, classes: int) -> dict[str, Attack]:
    """Name the attacks along the gradient; those that a number of `classes` allows."""
    eot = effort.eot_samples
    many = replace(apgd(effort, eps, norm), restarts=effort.restarts)
    few_targets = min(effort.targets, classes - 1)
    attacks: dict[str, Attack] = {"one step": one_step(eps, norm, eot)}
    attacks["APGD, cross-entropy"] = replace(many, loss="cross-entropy")
    if classes > 2:
        attacks["APGD, DLR"] = replace(many, loss="dlr")
    attacks["APGD, targets"] = replace(many, targets=few_targets)
    if norm == "l2":
        nearest = CarliniWagner(steps=effort.steps, lr=0.05, binary_search_steps=4, eot_samples=eot)
        attacks["Carlini-Wagner"] = Within(nearest, eps, norm)
    return attacks


def black_box(effort: Effort, eps: float, norm: Norm) -> dict[str, Attack]:
    """Name the attacks that need no gradient. Random search by squares is in "linf" alone."""
    eot = effort.eot_samples
    attacks: dict[str, Attack] = {"random noise": RandomNoise(eps, norm, 10, eot)}
    if norm == "linf":
        attacks["Square"] = Square(eps, effort.queries, eot_samples=eot)
    return attacks


def from_sources(
    effort: Effort, eps: float, norm: Norm, sources: Sequence[nn.Module]
) -> dict[str, Attack]:
    """Name an attack on each of the networks that stand in for the one under audit."""
    attack = replace(apgd(effort, eps, norm), targets=0, early_stop=False)
    return {
        f"transfer from network {number}": Transfer(source, attack)
        for number, source in enumerate(sources, 1)
    }


def through_stand_in(
    effort: Effort, eps: float, norm: Norm, classes: int, stand_in: nn.Module | None
) -> dict[str, BPDA]:
    """Name the attacks by the gradients of a stand-in: a given one, or one that is made.

    A network with noise gets two that are made, with the noise off and with the noise as it is.
    """
    attack = replace(apgd(effort, eps, norm), targets=min(effort.targets, classes - 1))
    if stand_in is not None:
        return {"gradients of the stand-in": BPDA(attack, stand_in)}
    if effort.draws == 1:
        return {"smooth stand-in": BPDA(attack)}
    return {
        "smooth stand-in, noise off": BPDA(attack),
        "smooth stand-in, with noise": BPDA(attack, means=False),
    }


def smoothed(network: nn.Module, means: bool) -> nn.Module:
    """Return a network that answers as `network` does, with the gradients of a stand-in."""
    return BackwardThrough(network, Smooth(network, means))


def one_step(eps: float, norm: Norm, eot_samples: int) -> Attack:
    """Return the attack of one step to the edge of the ball."""
    if norm == "linf":
        return FGSM(eps, eot_samples)
    return PGD(eps, eps, 1, random_start=False, norm=norm, eot_samples=eot_samples)
