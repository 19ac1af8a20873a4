"""The attacks of Kaspar et al. (2024), and those of an attacker who knows the defence.

The report attacks a stochastic network through the gradients of single draws. Here is what else an
attacker tries who knows the network: see the checklist of the chapter on adversarial examples.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from robustnb.attacks.black_box import RandomNoise, Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.papers.stochastic_lwta.measuring import NoiseOff
from robustnb.papers.stochastic_lwta.protocols import REGULAR, TUNED, Strength
from robustnb.papers.stochastic_lwta.stand_in import Through
from robustnb.papers.stochastic_lwta.training import HOT


@dataclass(frozen=True)
class Elsewhere:
    """Make `attack` on the network named `source`, which the attacker trained alike."""

    source: str
    attack: Attack


Attacks = Mapping[str, Attack | Elsewhere | None]  # by the name of a row or a column

# Table 1's caption and Figure 1. Section 2 starts PGD at the image itself.
PRINTED_PGD = PGD(eps=0.3, alpha=0.01, steps=3, random_start=False)
PRINTED_FGSM = FGSM(eps=0.3)
PRINTED_CW = CarliniWagner(c=1e-4, kappa=0.01)
PRINTED_ATTACKS: Attacks = {
    "natural accuracy": None,
    "PGD accuracy": PRINTED_PGD,
    "FGSM accuracy": PRINTED_FGSM,
    "CW accuracy": PRINTED_CW,
}


def in_the_ball_of_training(strength: Strength) -> Attacks:
    """Name attacks that stay where training was, in steps that can cross the ball."""
    fgsm = FGSM(strength.pgd.eps)
    return {"natural accuracy": None, "FGSM accuracy": fgsm, "PGD accuracy": strength.pgd}


def more_steps(strength: Strength) -> dict[str, Attack]:
    """Name Table 1's PGD with more steps, and with a random start."""
    pgd = PRINTED_PGD
    return {
        **{f"PGD, {number} steps": replace(pgd, steps=number) for number in strength.steps},
        "PGD, 3 steps, random start": replace(pgd, random_start=True),
        "FGSM": PRINTED_FGSM,
    }


def other_constants(strength: Strength) -> dict[str, Attack]:
    """Name the attack of Carlini & Wagner with other constants c than Table 1's."""
    return {f"c={c:g}": replace(PRINTED_CW, c=c) for c in strength.constants}


def on_blocks(strength: Strength) -> Attacks:
    """Name the attacks on Stochastic LWTA, those with stand-ins for the mask among them."""
    pgd, few = strength.pgd, strength.few
    averaged = replace(pgd, eot_samples=few)
    return {
        "none": None,
        "random noise": RandomNoise(pgd.eps),
        **averaged_over_draws(strength),
        "FGSM, mean mask": Through(FGSM(pgd.eps), "mean", HOT),
        "PGD, mean mask": Through(pgd, "mean", HOT),
        "PGD, mean mask, margin": Through(replace(pgd, loss="margin"), "mean", HOT),
        f"PGD, temperature {HOT}, EOT={few}": Through(averaged, "relaxed", HOT),
        f"PGD, straight-through, EOT={few}": Through(averaged, "straight-through", HOT),
        f"transfer from {TUNED}": Elsewhere(TUNED, pgd),
        f"transfer from {REGULAR}": Elsewhere(REGULAR, pgd),
        **searching(strength),
    }


def on_tuned(strength: Strength) -> Attacks:
    """Name those of `on_blocks` that are others on a network without blocks and draws."""
    return {name: a for name, a in on_blocks(strength).items() if _differs_without_blocks(a)}


def _differs_without_blocks(attack: Attack | Elsewhere | None) -> bool:
    if isinstance(attack, Through):
        return isinstance(attack.attack, PGD) and attack.attack.loss == "margin"
    if isinstance(attack, Elsewhere):
        return attack.source != TUNED
    return not isinstance(attack, PGD) or attack.eot_samples == 1


def through_masks(strength: Strength) -> dict[str, Attack]:
    """Name PGD through masks of other temperatures than the network's own."""
    averaged = replace(strength.pgd, eot_samples=strength.few)
    temperatures = strength.temperatures
    return {f"temperature {each:g}": Through(averaged, "relaxed", each) for each in temperatures}


def without_noise(strength: Strength) -> Attacks:
    """Name the attacks on a network with noise injection that need no average over its draws."""
    return {"none": None, "PGD, noise off": NoiseOff(strength.pgd), **searching(strength)}


def on_mixture(strength: Strength) -> Attacks:
    """Name the attacks on a network without noise and blocks."""
    return {"none": None, "PGD, EOT=1": strength.pgd, **searching(strength)}


def averaged_over_draws(strength: Strength) -> dict[str, Attack]:
    """Name PGD along gradients averaged over more and more draws."""
    return {
        f"PGD, EOT={number}": replace(strength.pgd, eot_samples=number)
        for number in strength.eot_samples
    }


def searching(strength: Strength) -> dict[str, Attack]:
    """Name the attack that needs no gradient."""
    return {f"Square, {strength.square.queries} queries": strength.square}


def through_mean(attacks: Mapping[str, Attack]) -> Attacks:
    """Make each attack through the mean mask."""
    return {name: Through(attack, "mean", HOT) for name, attack in attacks.items()}


def described(attack: Attack | Elsewhere | None) -> dict[str, Any]:
    """Return an attack's name and fields for a row."""
    if attack is None:
        return {}
    fields = asdict(cast(Any, attack))  # all attacks are dataclasses
    inner = getattr(attack, "attack", None)
    nested = {"attack": described(inner)} if inner is not None else {}
    return {"name": type(attack).__name__} | fields | nested


def num_passes(attack: Attack | Elsewhere | None) -> float:
    """Return about how many passes an attack makes, by which the costs go."""
    if isinstance(attack, Through | NoiseOff | Elsewhere):
        return num_passes(attack.attack)
    if isinstance(attack, PGD):
        return attack.steps * attack.restarts * attack.eot_samples
    if isinstance(attack, Square):
        return attack.queries * attack.eot_samples / 3
    return 50 if isinstance(attack, CarliniWagner) else 1
