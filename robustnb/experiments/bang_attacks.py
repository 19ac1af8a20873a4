"""Attackers who know BANG, random noise, and the cost of a step: more tables of our own."""

from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import torch

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.experiments import bang_pieces as work
from robustnb.experiments.bang_tables import (
    OTHER,
    PERCENT,
    PLAIN,
    Study,
    percent,
    settings_of,
)
from robustnb.experiments.cells import Cell
from robustnb.experiments.pieces import Piece

ELSEWHERE = "PGD, margin, on R1"
WORST = "worst case"


# Attackers who know the defence.


def strong_attacks(study: Study, eps: float) -> dict[str, PGD | Square]:
    """Name the attacks within a ball of radius `eps`, made on the network itself."""
    alpha, number = 2.5 * eps / study.steps, study.restarts
    return {
        "PGD, cross-entropy": PGD(eps, alpha, study.steps, number),
        "PGD, margin": PGD(eps, alpha, study.steps, number, loss="margin"),
        f"Square, {study.queries} queries": Square(eps, study.queries),
    }


def worst_pieces(study: Study, seed: int) -> dict[tuple[str, float, str], Piece]:
    """Name every strong attack, by network, eps and attack; PGD on R1 is shown to both."""
    found: dict[tuple[str, float, str], Piece] = {}
    end, cost = (study.num_attacked, seed), float(study.num_attacked)
    for network in study.pair:
        for eps in study.eps:
            attacks = strong_attacks(study, eps)
            for name, attack in attacks.items():
                arguments = (study.training, network, attack, *end)
                found[network.name, eps, name] = Piece(work.attacked, arguments, cost)
            shown = (study.training, network, OTHER, attacks["PGD, margin"], *end)
            found[network.name, eps, ELSEWHERE] = Piece(work.transferred, shown, cost)
    return found


def worst_cells(study: Study, found: dict[tuple[str, float, str], work.Attacked]) -> Iterator[Cell]:
    """Yield the share of right answers under each attack, and under the worst for each image."""
    for network in study.pair:
        for eps in study.eps:
            answers = {
                attack: answer
                for (name, radius, attack), answer in found.items()
                if (name, radius) == (network.name, eps)
            }
            worst = torch.stack([answer.right for answer in answers.values()]).all(0)
            answers[WORST] = work.Attacked(worst, sum(a.seconds for a in answers.values()))
            for attack, answer in answers.items():
                settings = settings_of(study) | {"attacks": _strong_settings(study, eps, attack)}
                numbers = percent(answer.right), PERCENT, answer.seconds, study.num_attacked
                yield Cell(f"{attack}, eps={_written(eps)}", network.name, *numbers, settings)


def _written(eps: float) -> str:
    """Write 0.1 as it is, and 0.00784314 as 2/255."""
    short = f"{eps:g}"
    return short if len(short) <= 4 else str(Fraction(eps).limit_denominator(255))


def _strong_settings(study: Study, eps: float, attack: str) -> dict[str, Any]:
    made = strong_attacks(study, eps)
    made[ELSEWHERE] = made["PGD, margin"]
    return {name: asdict(fields) for name, fields in made.items() if attack in (name, WORST)}


# Random noise (Figures 3 and 5).


def noise_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the noise test of the two networks."""
    numbers = study.stds, study.copies, study.per_class
    arguments = (study.training, study.pair, *numbers, seed)
    return {"noise": Piece(work.noisy, arguments, cost=10.0 * study.copies)}


def noise_cells(study: Study, found: dict[str, work.Noisy]) -> Iterator[Cell]:
    """Yield the share of changed answers by iteration and noise, a column for each network."""
    answer, settings = found["noise"], settings_of(study) | {"copies": study.copies}
    for (iteration, std, clipped), shares in answer.shares.items():
        row = f"iteration {iteration}, std {std:g}{', clipped' * clipped}"
        for network, share in zip(study.pair, shares, strict=True):
            numbers = 100 * share, PERCENT, answer.seconds, answer.num_images
            yield Cell(row, network.name, *numbers, settings)


# What it costs.


def cost_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the timing of a training step."""
    arguments = (study.training, study.balanced, seed)
    return {"step": Piece(work.step_seconds, arguments)}


def cost_cells(study: Study, found: dict[str, tuple[float, float]]) -> Iterator[Cell]:
    """Yield the time of a step with BANG over that of a plain one, and both."""
    balanced, plain = found["step"]
    settings = settings_of(study) | {"repeats": work.REPEATS}
    seconds = work.REPEATS * (balanced + plain)
    for column, value, unit in (
        (PLAIN.name, 1000 * plain, "ms"),
        (study.balanced.name, 1000 * balanced, "ms"),
        ("ratio", balanced / plain, "times"),
    ):
        row = "training step", column, value, unit
        yield Cell(*row, seconds, study.training.batch_size, settings)
