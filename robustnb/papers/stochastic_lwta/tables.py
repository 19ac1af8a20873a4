"""Tables 1 and 2 and Figure 3 of Kaspar et al. (2024), and what they leave out.

Here are accuracies under attack: networks are trained (`trained`), and attacked and judged
(`judged`); a cell is what is left to an attacker who may choose among attacks (`accuracy`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from robustnb.attacks.common import Attack
from robustnb.judging import Judged, worst_case
from robustnb.papers.pieces import Piece
from robustnb.papers.stochastic_lwta.attacks import (
    PRINTED_ATTACKS,
    PRINTED_PGD,
    Attacks,
    Elsewhere,
    averaged_over_draws,
    described,
    in_the_ball_of_training,
    more_steps,
    num_passes,
    on_blocks,
    on_mixture,
    on_tuned,
    other_constants,
    through_masks,
    through_mean,
    without_noise,
)
from robustnb.papers.stochastic_lwta.measuring import attack_and_judge
from robustnb.papers.stochastic_lwta.own_tables import (
    calibration,
    certificate,
    coefficients,
    confidence,
    cost,
    deep_losses,
)
from robustnb.papers.stochastic_lwta.parts import cell_of, trained
from robustnb.papers.stochastic_lwta.protocols import (
    LWTA,
    MIXED,
    MIXED_NOISE,
    NETWORKS,
    PRINTED,
    REGULAR,
    SMOOTH_LWTA,
    TUNED,
    Protocol,
)
from robustnb.papers.tables import Cell, Part, measure_tables

WORST = "worst case"
MEAN_MASK = f"{LWTA}, mean mask"
WITH_NOISE, NOISE_OFF = "noise injection", "noise injection, switched off"
WITHOUT_NOISE = "no noise injection"
DEEP, DEEP_LOSS = "attacks on LWTA, WRN-34-1", "training loss, WRN-34-1"


@dataclass(frozen=True)
class Case:
    """One attack on the network `name`; with `noise_off` its injected noise is off all the time."""

    name: str
    attack: Attack | Elsewhere | None
    num_images: int
    noise_off: bool = False


def judged(protocol: Protocol, case: Case, seed: int) -> Piece:
    """Return the piece that attacks a network and judges it."""
    attack, source = case.attack, None
    if isinstance(attack, Elsewhere):
        source = trained(protocol, attack.source, seed)
        attack = attack.attack
    network, images = trained(protocol, case.name, seed), protocol.images(case.num_images)
    draws = protocol.strength.draws if NETWORKS[case.name].is_stochastic else 1
    arguments = (network, attack, source, images, draws, seed, case.noise_off)
    return Piece(attack_and_judge, arguments, case.num_images * (num_passes(attack) + 1))


def accuracy(
    protocol: Protocol,
    seed: int,
    place: tuple[str, str],
    cases: Sequence[Case],
    left: Callable[[Sequence[Judged]], float] = worst_case,
) -> Part:
    """Return the part of one cell: what is `left` to an attacker who may choose among `cases`."""
    how = {
        "attacks": [described(case.attack) for case in cases],
        "draws": protocol.strength.draws,
        "noise off": cases[0].noise_off,
    }
    cell = cell_of(protocol, cases[0].name, how)

    def cells(found: Sequence[Judged]) -> Iterator[Cell]:
        yield cell(*place, 100 * left(found), "%", num_images=len(found[0].shares))

    return tuple(judged(protocol, case, seed) for case in cases), cells


def grid(protocol: Protocol, seed: int, names: Iterable[str], attacks: Attacks) -> Iterator[Part]:
    """Yield a row for each network and a column for each attack, as in the report."""
    for name in names:
        for column, attack in attacks.items():
            case = Case(name, attack, protocol.strength.num_images)
            yield accuracy(protocol, seed, (name, column), [case])


def column(
    protocol: Protocol,
    seed: int,
    name: str,
    attacks: Attacks,
    heading: str | None = None,
    *,
    worst: bool = False,
    noise_off: bool = False,
) -> Iterator[Part]:
    """Yield a row for each attack on the network `name`, and with `worst` for the worst of them."""
    number, heading = protocol.strength.num_attacked, heading or name
    cases = {row: [Case(name, attack, number, noise_off)] for row, attack in attacks.items()}
    if worst:
        cases[WORST] = [case for (case,) in cases.values()]
    for row, chosen in cases.items():
        yield accuracy(protocol, seed, (row, heading), chosen)


def table_1(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack the eight networks as Table 1 does."""
    return grid(protocol, seed, PRINTED, PRINTED_ATTACKS)


def table_2(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack Stochastic LWTA as Table 2 does, which adds up two accuracies."""
    others = {name: a for name, a in PRINTED_ATTACKS.items() if a != PRINTED_PGD}
    yield from grid(protocol, seed, [LWTA], others)
    number, place = protocol.strength.num_images, (LWTA, "PGD accuracy, L2 and Linf summed")
    both = [Case(LWTA, attack, number) for attack in (replace(PRINTED_PGD, norm="l2"), PRINTED_PGD)]
    yield accuracy(protocol, seed, place, both, summed)


def summed(found: Sequence[Judged]) -> float:
    """Return the sum of the accuracies that each attack leaves."""
    return sum(each.shares.mean().item() for each in found)


def controls(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack the networks of our own as Table 1 does."""
    return grid(protocol, seed, [TUNED, SMOOTH_LWTA], PRINTED_ATTACKS)


def training_eps(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack every network within the ball of its training."""
    attacks = in_the_ball_of_training(protocol.strength)
    return grid(protocol, seed, [*PRINTED, TUNED, SMOOTH_LWTA], attacks)


def steps(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Give Table 1's PGD more steps, and a random start."""
    attacks = more_steps(protocol.strength)
    for name in (REGULAR, MIXED, TUNED, LWTA):
        yield from column(protocol, seed, name, attacks)
    yield from column(protocol, seed, LWTA, through_mean(attacks), MEAN_MASK)


def constants(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Give the attack of Carlini & Wagner other constants c than Table 1's."""
    attacks = other_constants(protocol.strength)
    for name in (REGULAR, TUNED, LWTA):
        yield from column(protocol, seed, name, attacks)
    yield from column(protocol, seed, LWTA, through_mean(attacks), MEAN_MASK)


def on_lwta(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack Stochastic LWTA in every way, and a network without blocks in those that apply."""
    strength = protocol.strength
    yield from column(protocol, seed, LWTA, on_blocks(strength), worst=True)
    yield from column(protocol, seed, TUNED, on_tuned(strength), worst=True)


def on_both_lwta(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack the same, and Stochastic LWTA that met PGD through the mean mask in training."""
    yield from on_lwta(protocol, seed)
    yield from column(protocol, seed, SMOOTH_LWTA, on_blocks(protocol.strength), worst=True)


def on_deep_lwta(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack Stochastic LWTA with the report's architecture, where the rest has a smaller one."""
    if protocol.deep is not None:
        yield from on_lwta(protocol.deep, seed)


def temperatures(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack Stochastic LWTA through masks of other temperatures than its own."""
    for name in (LWTA, SMOOTH_LWTA):
        yield from column(protocol, seed, name, through_masks(protocol.strength))


def on_pni(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Attack the mixture with and without noise injection, and with its noise switched off."""
    strength = protocol.strength
    quiet = without_noise(strength)
    noisy = {**quiet, **averaged_over_draws(strength)}
    of = partial(column, protocol, seed, worst=True)
    yield from of(MIXED_NOISE, noisy, WITH_NOISE)
    yield from of(MIXED_NOISE, quiet, NOISE_OFF, noise_off=True)
    yield from of(MIXED, on_mixture(strength), WITHOUT_NOISE)


TABLES = {
    "1": table_1,
    "2": table_2,
    "controls": controls,
    "training eps": training_eps,
    "attacks on LWTA": on_both_lwta,
    DEEP: on_deep_lwta,
    DEEP_LOSS: deep_losses,
    "temperature": temperatures,
    "attacks on PNI": on_pni,
    "steps": steps,
    "CW constant": constants,
    "confidence": confidence,
    "calibration": calibration,
    "cost": cost,
    "coefficients": coefficients,
    "certificate": certificate,
}
measure = partial(measure_tables, "stochastic-lwta", TABLES)
