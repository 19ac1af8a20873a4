"""Attacks that Zhang & Chen (2020) do not make.

On the network itself: by gradients averaged over its draws, and by the worst of several attacks.
And on plain networks that start from large weights, as the variational ones do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.judging import worst_case as worst_of
from robustnb.papers.bayesian_weight_sampling.cells import (
    BySize,
    accuracy_cell,
    over_sets,
    transferred,
)
from robustnb.papers.bayesian_weight_sampling.control_tables import (
    FEW_DRAWS,
    STRENGTHS,
    controls,
    trained,
)
from robustnb.papers.bayesian_weight_sampling.measuring import (
    Answers,
    accuracy_of_draws,
    accuracy_of_pass,
    answers,
    perturb,
)
from robustnb.papers.bayesian_weight_sampling.other_sources import train_source
from robustnb.papers.bayesian_weight_sampling.parts import (
    bayesian,
    bayesian_name,
    drawn_settings,
    fooling,
    images_to_perturb,
    num_weights,
    passes,
    plain,
    standard_name,
)
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.bayesian_weight_sampling.training import DEFENDER
from robustnb.papers.images import Images
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part

MOST_IMAGES = 500  # that every attack is made on
ELSEWHERE = "PGD on another network"
WORST = "worst case"
CONTROL = "plain, variational initialisation"


def white_box(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield accuracies under PGD on the network itself, for one weight draw and for ensembles."""
    images = Images(protocol.dataset, num_images=protocol.num_attacked)
    attack, most = replace(protocol.white_box, eot_samples=1), max(protocol.ensembles)
    for strength in protocol.lambdas:
        network = plain(protocol.plain, DEFENDER, strength, seed)
        found = Piece(accuracy_of_pass, (network, attacked(network, attack, images, seed)))
        column, settings = standard_name(strength), {"training": asdict(protocol.plain)}
        yield found, partial(white_box_cells, attack, images, column, settings)
    for rho_init, eot_samples in product(protocol.rho_inits, protocol.eot_samples):
        attack = replace(protocol.white_box, eot_samples=eot_samples)
        network = bayesian(protocol.bayesian, rho_init, seed)
        made = attacked(network, attack, images, seed)
        found = Piece(accuracy_of_draws, (network, made, (1, most), 0, seed))
        for size in (1, most):
            settings = drawn_settings(protocol, size)
            column = bayesian_name(rho_init)
            yield found, partial(white_box_cells, attack, images, column, settings, size=size)


def white_box_cells(
    attack: PGD,
    images: Images,
    column: str,
    settings: dict[str, Any],
    found: BySize,
    size: int = 1,
) -> Iterator[Cell]:
    """Yield the accuracy of ensembles of this size under an attack."""
    row = f"PGD EOT={attack.eot_samples}" + ("" if size == 1 else f", ensemble N={size}")
    yield accuracy_cell(row, column, found[size], images, {"attack": asdict(attack)} | settings)


def attacked(network: Piece, attack: PGD | Square, images: Images, seed: int) -> Piece:
    """Attack a network itself."""
    cost = attack.eot_samples * num_weights(DEFENDER) / 100
    return Piece(perturb, (network, attack, images, seed), cost)


def worst_case(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield accuracies under several attacks on the network itself, and under the worst of them."""
    attacks = known_attacks(protocol)
    for column, network in variational_networks(protocol, seed).items():
        found = answered(protocol, network, attacks, max(protocol.ensembles), seed)
        yield found, partial(worst_case_cells, protocol, column)
    # A network that draws nothing needs no average over its draws.
    attacks = {name: replace(attack, eot_samples=1) for name, attack in attacks.items()}
    for column, network in plain_networks(protocol, seed).items():
        found = answered(protocol, network, attacks, 1, seed)
        yield found, partial(worst_case_cells, protocol, column)


def answered(
    protocol: Protocol,
    network: Piece,
    attacks: Mapping[str, PGD | Square],
    draws: int,
    seed: int,
) -> dict[str, Piece]:
    """Attack a network, and another one with its perturbations, and ask it about all of them."""
    images = some_images(protocol)
    other = plain(protocol.plain, protocol.sources[-1], "0", seed)
    made = {name: attacked(network, attack, images, seed) for name, attack in attacks.items()}
    made[ELSEWHERE] = attacked(other, protocol.white_box, images, seed)
    return {name: Piece(answers, (network, images, draws, seed)) for name, images in made.items()}


def worst_case_cells(
    protocol: Protocol, column: str, found: Mapping[str, Answers]
) -> Iterator[Cell]:
    """Yield the accuracies of single draws and of their ensemble, by attack and at the worst."""
    images, most = some_images(protocol), max(protocol.ensembles)
    cell = partial(accuracy_cell, column=column, images=images)
    accuracies = {
        name: (answer.single.shares.mean().item(), answer.ensemble.shares.mean().item())
        for name, answer in found.items()
    }
    accuracies[WORST] = (
        worst_of([answer.single for answer in found.values()]),
        worst_of([answer.ensemble for answer in found.values()]),
    )
    for name, (single, together) in accuracies.items():
        settings = attack_settings(protocol, name)
        yield cell(name, accuracy=single, settings=settings)
        yield cell(f"{name}, ensemble N={most}", accuracy=together, settings=settings)


def attack_settings(protocol: Protocol, name: str) -> dict[str, Any]:
    """Return the fields of the attack of this name, or of all of them at the worst case."""
    made = {**known_attacks(protocol), ELSEWHERE: protocol.white_box}
    fields = {known: asdict(attack) for known, attack in made.items() if name in (known, WORST)}
    return {"attacks": fields, "draws": max(protocol.ensembles)}


def known_attacks(protocol: Protocol) -> dict[str, PGD | Square]:
    """Name the attacks that are made on the network itself, all within the same ball."""
    pgd, most = protocol.white_box, max(protocol.eot_samples)
    few, queries = min(most, 10), protocol.queries
    margin = replace(pgd, eot_samples=few, loss="margin", restarts=5)
    return {
        f"PGD, cross-entropy, EOT={most}": replace(pgd, eot_samples=most),
        f"PGD, margin, 5 restarts, EOT={few}": margin,
        f"Square, {queries} queries, EOT={few}": Square(pgd.eps, queries, eot_samples=few),
    }


def some_images(protocol: Protocol) -> Images:
    """Return the test images that every attack is made on."""
    return Images(protocol.dataset, num_images=min(MOST_IMAGES, protocol.num_attacked))


def other_kind(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield averages over sets made against networks that start from large weights."""
    networks = {
        name: Piece(train_source, (protocol.plain, name, seed), num_weights(name))
        for name in protocol.sources[:2]  # the two that train in minutes
    }
    sets = fooling(protocol, networks, seed)
    for column, network in variational_networks(protocol, seed).items():
        found = {
            name: Piece(accuracy_of_draws, (network, images, FEW_DRAWS, 0, seed))
            for name, images in sets.items()
        }
        yield found, partial(other_kind_cells, protocol, column)
    for column, network in plain_networks(protocol, seed).items():
        yield passes(network, sets), partial(other_kind_cells, protocol, column)


def other_kind_cells(
    protocol: Protocol, column: str, found: Mapping[str, BySize]
) -> Iterator[Cell]:
    """Yield the accuracy of a column's network, averaged over the sets."""
    settings = {**transferred(protocol), "initialisation": "variational", "sets": list(found)}
    average, images = fmean(each[1] for each in found.values()), images_to_perturb(protocol)
    yield accuracy_cell(over_sets(found), column, average, images, settings)


def variational_networks(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Train the variational networks that attackers know."""
    known = [rho for rho in protocol.worst_case_rho_inits if rho in protocol.rho_inits]
    return {bayesian_name(rho): bayesian(protocol.bayesian, rho, seed) for rho in known}


def plain_networks(protocol: Protocol, seed: int) -> dict[str, Piece]:
    """Train the plain networks that attackers know: those of Table 2, and a control."""
    known = [strength for strength in STRENGTHS if strength in protocol.lambdas]
    standard = {standard_name(s): plain(protocol.plain, DEFENDER, s, seed) for s in known}
    return standard | {CONTROL: trained(controls(protocol)[CONTROL], seed)}
