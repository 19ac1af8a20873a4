"""Which attacks meet which networks of Kaspar et al. (2024): the report's own, and better ones.

The report attacks a stochastic network through the gradients of single draws. Here is what else an
attacker tries who knows the network: see the checklist of the chapter on adversarial examples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from robustnb.attacks.black_box import RandomNoise, Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.experiments.stochastic_lwta_attacks import Answers, Elsewhere, NoiseOff, Task
from robustnb.experiments.stochastic_lwta_pieces import (
    HOT,
    LWTA,
    MIXED,
    MIXED_NOISE,
    PRINTED,
    REGULAR,
    SMOOTH_LWTA,
    TUNED,
    Through,
)

# Table 1's caption and Figure 1. Section 2 starts PGD at the image itself.
PRINTED_PGD = PGD(eps=0.3, alpha=0.01, steps=3, random_start=False)
PRINTED_FGSM = FGSM(eps=0.3)
PRINTED_CW = CarliniWagner(c=1e-4, kappa=0.01)
PRINTED_ATTACKS: dict[str, Attack | None] = {
    "natural accuracy": None,
    "PGD accuracy": PRINTED_PGD,
    "FGSM accuracy": PRINTED_FGSM,
    "CW accuracy": PRINTED_CW,
}
CROSSING = PGD(eps=8 / 255, alpha=2 / 255, steps=20)
SEARCHING = Square(eps=8 / 255, queries=2_000, eot_samples=5)
MEAN_MASK = f"{LWTA}, mean mask"
WORST = "worst case"
WITH_NOISE, NOISE_OFF = "noise injection", "noise injection, switched off"
WITHOUT_NOISE = "no noise injection"


@dataclass(frozen=True)
class Assault:
    """A cell of a table: the accuracy that is left when an attacker chooses among some tasks.

    For each image it is the task that does best in rehearsal, on draws of the attacker's own, or
    else one task for all images, if that leaves less. With `summed` the cell is the sum of the
    tasks' accuracies instead, as in Table 2.
    """

    tasks: tuple[Task, ...]
    summed: bool = False

    def accuracy(self, answers: list[Answers]) -> float:
        """Return the accuracy in percent."""
        shares = torch.stack([answer.shares for answer in answers])
        if self.summed:
            return 100 * shares.mean(1).sum().item()
        best = torch.stack([answer.rehearsed for answer in answers]).argmin(0, keepdim=True)
        chosen = shares.gather(0, best).mean()
        return 100 * min(chosen, shares.mean(1).min()).item()


@dataclass(frozen=True)
class Strength:
    """Say how hard the networks are attacked; `pgd` and `square` stay in the ball of training."""

    num_images: int = 1_024
    num_attacked: int = 500
    draws: int = 10
    pgd: PGD = CROSSING
    square: Square = SEARCHING
    eot_samples: tuple[int, ...] = (1, 10, 50)
    few: int = 10
    temperatures: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 0.67, 1.0, 3.0)
    steps: tuple[int, ...] = (3, 10, 30, 100)
    constants: tuple[float, ...] = (1e-4, 1e-2, 1.0, 100.0)


Tasks = dict[tuple[str, str], Assault]
Attacks = Mapping[str, Attack | Elsewhere | None]


def table_1(strength: Strength) -> Tasks:
    """Attack the eight networks as Table 1 does."""
    return _grid(strength, PRINTED, PRINTED_ATTACKS)


def table_2(strength: Strength) -> Tasks:
    """Attack Stochastic LWTA as Table 2 does, which adds up two accuracies."""
    found = _grid(strength, [LWTA], PRINTED_ATTACKS)
    (linf,) = found.pop((LWTA, "PGD accuracy")).tasks
    both = (replace(linf, attack=replace(PRINTED_PGD, norm="l2")), linf)
    return found | {(LWTA, "PGD accuracy, L2 and Linf summed"): Assault(both, summed=True)}


def controls(strength: Strength) -> Tasks:
    """Attack the networks of our own as Table 1 does."""
    return _grid(strength, [TUNED, SMOOTH_LWTA], PRINTED_ATTACKS)


def training_eps(strength: Strength) -> Tasks:
    """Attack every network within the ball of its training, in steps that can cross it."""
    pgd = strength.pgd
    known = {"natural accuracy": None, "FGSM accuracy": FGSM(pgd.eps), "PGD accuracy": pgd}
    return _grid(strength, [*PRINTED, TUNED, SMOOTH_LWTA], known)


def steps(strength: Strength) -> Tasks:
    """Give Table 1's PGD more steps, and a random start."""
    pgd = PRINTED_PGD
    known: dict[str, Attack] = {
        f"PGD, {number} steps": replace(pgd, steps=number) for number in strength.steps
    }
    known["PGD, 3 steps, random start"] = replace(pgd, random_start=True)
    known["FGSM"] = PRINTED_FGSM
    return _columns(strength, [REGULAR, MIXED, TUNED, LWTA, MEAN_MASK], known)


def constants(strength: Strength) -> Tasks:
    """Give the attack of Carlini & Wagner other constants c than Table 1's."""
    known: dict[str, Attack] = {f"c={c:g}": replace(PRINTED_CW, c=c) for c in strength.constants}
    return _columns(strength, [REGULAR, TUNED, LWTA, MEAN_MASK], known)


def on_lwta(strength: Strength) -> Tasks:
    """Attack Stochastic LWTA in every way, and a network without blocks in those that apply."""
    known = lwta_attacks(strength)
    plain = {name: attack for name, attack in known.items() if _means_something(attack)}
    return _column(strength, LWTA, known, worst=True) | _column(strength, TUNED, plain, worst=True)


def on_both_lwta(strength: Strength) -> Tasks:
    """Attack the same, and Stochastic LWTA that met PGD through the mean mask in training."""
    smooth = _column(strength, SMOOTH_LWTA, lwta_attacks(strength), worst=True)
    return on_lwta(strength) | smooth


def lwta_attacks(strength: Strength) -> dict[str, Attack | Elsewhere | None]:
    """Name the attacks on Stochastic LWTA, those with stand-ins for the mask among them."""
    pgd, few = strength.pgd, strength.few
    averaged = replace(pgd, eot_samples=few)
    return {
        "none": None,
        "random noise": RandomNoise(pgd.eps),
        **{f"PGD, EOT={k}": replace(pgd, eot_samples=k) for k in strength.eot_samples},
        "FGSM, mean mask": Through(FGSM(pgd.eps), "mean", HOT),
        "PGD, mean mask": Through(pgd, "mean", HOT),
        "PGD, mean mask, margin": Through(replace(pgd, loss="margin"), "mean", HOT),
        f"PGD, temperature {HOT}, EOT={few}": Through(averaged, "relaxed", HOT),
        f"PGD, straight-through, EOT={few}": Through(averaged, "straight-through", HOT),
        f"transfer from {TUNED}": Elsewhere(TUNED, pgd),
        f"transfer from {REGULAR}": Elsewhere(REGULAR, pgd),
        f"Square, {strength.square.queries} queries": strength.square,
    }


def temperatures(strength: Strength) -> Tasks:
    """Attack Stochastic LWTA through masks of other temperatures than its own."""
    averaged = replace(strength.pgd, eot_samples=strength.few)
    known: dict[str, Attack] = {
        f"temperature {each:g}": Through(averaged, "relaxed", each)
        for each in strength.temperatures
    }
    return _columns(strength, [LWTA, SMOOTH_LWTA], known)


def on_pni(strength: Strength) -> Tasks:
    """Attack the mixture with and without noise injection, and with its noise switched off."""
    pgd = strength.pgd
    square = {f"Square, {strength.square.queries} queries": strength.square}
    asked = {f"PGD, EOT={k}": replace(pgd, eot_samples=k) for k in strength.eot_samples}
    quiet: Attacks = {"none": None, "PGD, noise off": NoiseOff(pgd), **square}
    plain: Attacks = {"none": None, "PGD, EOT=1": pgd, **square}
    return (
        _column(strength, MIXED_NOISE, {**quiet, **asked}, WITH_NOISE, worst=True)
        | _column(strength, MIXED_NOISE, quiet, NOISE_OFF, worst=True, quiet=True)
        | _column(strength, MIXED, plain, WITHOUT_NOISE, worst=True)
    )


def _grid(strength: Strength, names: Iterable[str], attacks: Attacks) -> Tasks:
    """Return a table with a row for each network and a column for each attack."""
    return {
        (name, column): Assault((Task(name, attack, strength.num_images, strength.draws),))
        for name in names
        for column, attack in attacks.items()
    }


def _columns(strength: Strength, names: Iterable[str], attacks: Mapping[str, Attack]) -> Tasks:
    """Return a table with a row for each attack and a column for each network."""
    found: Tasks = {}
    for name in names:
        if name == MEAN_MASK:
            smooth = {row: Through(attack, "mean", HOT) for row, attack in attacks.items()}
            found |= _column(strength, LWTA, smooth, MEAN_MASK)
        else:
            found |= _column(strength, name, attacks)
    return found


def _column(
    strength: Strength,
    name: str,
    attacks: Attacks,
    column: str | None = None,
    *,
    worst: bool = False,
    quiet: bool = False,
) -> Tasks:
    """Attack the network `name`; the worst of the attacks is a row of its own."""
    tasks = {
        row: Task(name, attack, strength.num_attacked, strength.draws, quiet)
        for row, attack in attacks.items()
    }
    found = {(row, column or name): Assault((task,)) for row, task in tasks.items()}
    return found | ({(WORST, column or name): Assault(tuple(tasks.values()))} if worst else {})


def _means_something(attack: Attack | Elsewhere | None) -> bool:
    """Tell whether an attack is another one on a network without blocks and draws."""
    if isinstance(attack, Through):
        return isinstance(attack.attack, PGD) and attack.attack.loss == "margin"
    if isinstance(attack, Elsewhere):
        return attack.source != TUNED
    return not isinstance(attack, PGD) or attack.eot_samples == 1


def networks_of(tasks: Tasks) -> set[str]:
    """Return the networks that a table is about, or whose attacks it transfers."""
    every = [task for assault in tasks.values() for task in assault.tasks]
    sources = {task.attack.source for task in every if isinstance(task.attack, Elsewhere)}
    return sources | {task.network for task in every}
