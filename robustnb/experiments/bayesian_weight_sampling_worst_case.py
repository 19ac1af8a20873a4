"""The networks of Zhang & Chen (2020) against attackers who know them: the worst for each image."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.attacks.black_box import Square, Transfer
from robustnb.attacks.gradient import PGD
from robustnb.defenses.bayesian import bayesian_layers, sample_logits
from robustnb.experiments.bayesian_weight_sampling_controls import STRENGTHS, trained_control
from robustnb.experiments.bayesian_weight_sampling_pieces import (
    DEFENDER,
    Protocol,
    bayesian_column,
    bayesian_network,
    images_to_perturb,
    num_weights,
    plain_network,
    plain_piece,
    standard_column,
)
from robustnb.experiments.pieces import Piece, result
from robustnb.models import predict
from robustnb.randomness import seeded

RHO_INITS = (-30.0, -3.0, -2.0)
MOST_IMAGES = 500
ELSEWHERE = "PGD on another network"
WORST = "worst case"
CONTROL = "plain, variational initialisation"


@dataclass(frozen=True)
class Attacked:
    """The share of weight draws that read each image rightly, and whether their average does."""

    single: Tensor
    ensemble: Tensor
    seconds: float


def attacks(protocol: Protocol) -> dict[str, PGD | Square]:
    """Name the attacks that are made on the network itself, all within the same ball."""
    pgd, most = protocol.white_box, max(protocol.eot_samples)
    few, queries = min(most, 10), 50 if protocol.dataset == "digits" else 500
    margin = replace(pgd, eot_samples=few, loss="margin", restarts=5)
    return {
        f"PGD, cross-entropy, EOT={most}": replace(pgd, eot_samples=most),
        f"PGD, margin, 5 restarts, EOT={few}": margin,
        f"Square, {queries} queries, EOT={few}": Square(pgd.eps, queries, eot_samples=few),
    }


def columns(protocol: Protocol) -> list[str]:
    """Return the networks that are attacked: by their columns in Table 2, and a control."""
    variational = [bayesian_column(rho) for rho in RHO_INITS if rho in protocol.rho_inits]
    plain = [standard_column(s) for s in STRENGTHS if s in protocol.lambdas]
    return [*variational, *plain, CONTROL]


def attack(protocol: Protocol, column: str, name: str, seed: int) -> Attacked:
    """Attack the network of a column and ask it, with draws that the attacker does not have."""
    started, model = time.perf_counter(), network(protocol, column, seed)
    images, labels = images_to_perturb(protocol.dataset, num_images(protocol))
    make = _attack(protocol, model, name, seed)
    found = make(model, images, labels, seeded(1_000 + seed))
    answers = draws(model, found, max(protocol.ensembles), seed).softmax(-1)
    return Attacked(
        (answers.argmax(-1) == labels).float().mean(0),
        (answers.mean(0).argmax(-1) == labels).float(),
        time.perf_counter() - started,
    )


def _attack(protocol: Protocol, model: nn.Module, name: str, seed: int) -> PGD | Square | Transfer:
    if name == ELSEWHERE:
        other = plain_piece(protocol.plain, protocol.sources[-1], "0", seed)
        return Transfer(result(other).model, protocol.white_box)
    found = attacks(protocol)[name]
    return found if bayesian_layers(model) else replace(found, eot_samples=1)


def draws(model: nn.Module, images: Tensor, num_samples: int, seed: int) -> Tensor:
    """Return logits (S, N, classes), of one pass where the network is not stochastic."""
    if bayesian_layers(model):
        return sample_logits(model, images, num_samples, seeded(seed))
    return predict(model, images).unsqueeze(0)


def network(protocol: Protocol, column: str, seed: int) -> nn.Module:
    """Return the trained network behind a column of Table 2, or the control."""
    if column == CONTROL:
        return trained_control(protocol, column, seed)
    variational = {bayesian_column(rho): rho for rho in protocol.rho_inits}
    if column in variational:
        return bayesian_network(protocol, variational[column], seed).model
    return plain_network(protocol, column.removeprefix(standard_column("")), seed).model


def num_images(protocol: Protocol) -> int:
    """Return how many test images are attacked."""
    return min(MOST_IMAGES, protocol.num_attacked)


def attacked_pieces(protocol: Protocol, seed: int) -> dict[tuple[str, str], Piece]:
    """Name every attack on every network as a piece, by the network's column and the attack."""
    cost = num_weights(DEFENDER) / 10
    return {
        (column, name): Piece(attack, (protocol, column, name, seed), cost)
        for column in columns(protocol)
        for name in (*attacks(protocol), ELSEWHERE)
    }


def shares(protocol: Protocol, seed: int) -> Iterator[tuple[str, str, float, float]]:
    """Yield row, column, share and seconds: each attack, and the worst of them for each image.

    The worst of all spares an image as often as the attack does that spares it least.
    """
    found: dict[tuple[str, str], Attacked] = {
        place: result(piece) for place, piece in attacked_pieces(protocol, seed).items()
    }
    most = max(protocol.ensembles)
    for column in columns(protocol):
        of_column = {name: answer for (other, name), answer in found.items() if other == column}
        of_column[WORST] = _worst(list(of_column.values()))
        for name, answer in of_column.items():
            yield name, column, answer.single.mean().item(), answer.seconds
            yield (
                f"{name}, ensemble N={most}",
                column,
                answer.ensemble.mean().item(),
                answer.seconds,
            )


def _worst(found: list[Attacked]) -> Attacked:
    return Attacked(
        torch.stack([answer.single for answer in found]).amin(0),
        torch.stack([answer.ensemble for answer in found]).amin(0),
        sum(answer.seconds for answer in found),
    )


def settings(protocol: Protocol, row: str) -> dict[str, Any]:
    """Return the fields of the attack that a row is named for, or of all of them."""
    made = attacks(protocol) | {ELSEWHERE: protocol.white_box}
    named, _, _ = row.partition(", ensemble")
    fields = {name: asdict(attack) for name, attack in made.items() if named in (name, WORST)}
    return {"attacks": fields, "draws": max(protocol.ensembles)}
