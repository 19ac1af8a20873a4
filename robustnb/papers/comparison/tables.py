"""The defences side by side, and the audit of each: its attacks and its warning signs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Any

from robustnb.judging import Judged
from robustnb.papers.comparison.defense import Defense
from robustnb.papers.comparison.defenses import PLAIN, defenses
from robustnb.papers.comparison.measuring import (
    Certified,
    attacked,
    audited,
    certified,
    corrupted,
    inference,
)
from robustnb.papers.comparison.protocols import Protocol
from robustnb.papers.comparison.task import Trained
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part, measure_tables

KEY = "comparison"
SIDE_BY_SIDE, ATTACKS, SIGNS, COST = "side by side", "attacks", "signs", "cost"
PERCENT, TIMES = "%", "times"
TRANSFER, EOT, NOISE = "transfer from network 1", "APGD, cross-entropy", "random noise"
# What the audit calls its attacks, by the names of the columns.
FROM_AUDIT = {"random noise": NOISE, "transfer": TRANSFER, "along the gradient": EOT}
STAND_IN = "stand-in"  # part of the names of attacks through one

MakeCell = Callable[..., Cell]  # takes row, column, value and unit
Report = Mapping[str, Any]


def measured(protocol: Protocol) -> Iterator[Defense]:
    """Yield the defences that a protocol is about."""
    for name, defense in defenses().items():
        if not protocol.only or name in protocol.only:
            yield defense


def trained(protocol: Protocol, defense: Defense, seed: int) -> Piece:
    """Return the training of a defence."""
    return Piece(defense.train, (protocol.task, seed), cost=10.0)


def plain(protocol: Protocol, seed: int) -> Piece:
    """Return the training of the plain network."""
    return trained(protocol, defenses()[PLAIN], seed)


def report(protocol: Protocol, defense: Defense, seed: int) -> Piece:
    """Return the audit of a defence; perturbations are transferred from a plain network."""
    network, source = trained(protocol, defense, seed), plain(protocol, seed + 1)
    arguments = protocol.images, protocol.task.eps, protocol.effort, seed
    return Piece(audited, (network, source, *arguments), cost=100.0)


def cell_of(protocol: Protocol, defense: Defense, number: int) -> MakeCell:
    """Return what makes a cell about a defence on so many images."""
    settings = {"task": asdict(protocol.task), "effort": protocol.effort}
    on = protocol.task.dataset
    return partial(Cell, defense.title, dataset=on, num_images=number, settings=settings)


def side_by_side(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield what is left of each defence, from clean images to the worst case."""
    for defense in measured(protocol):
        network, cell = trained(protocol, defense, seed), cell_of(protocol, defense, 0)
        arguments = protocol.images, seed
        yield report(protocol, defense, seed), partial(audit_cells, cell)
        yield Piece(corrupted, (network, *arguments)), partial(corruption_cells, cell)
        if defense.attack is not None:
            source = plain(protocol, seed + 1) if defense.transferred else None
            own = Piece(attacked, (network, defense.attack(protocol.task), source, *arguments))
            yield own, partial(paper_cells, cell)
        images = protocol.task.images("test", protocol.num_certified)
        proved = Piece(certified, (network, images, protocol.copies, seed))
        yield proved, partial(certificate_cells, cell, protocol.radius)


def audit_cells(cell: MakeCell, found: Report) -> Iterator[Cell]:
    """Yield what the audit has measured."""
    cell = partial(cell, unit=PERCENT, num_images=found["num_images"])
    yield cell("clean", value=100 * found["clean"])
    for column, name in FROM_AUDIT.items():
        if name in found["attacks"]:
            yield cell(column, value=100 * found["attacks"][name]["accuracy"])
    smooth = [each["accuracy"] for name, each in found["attacks"].items() if STAND_IN in name]
    if smooth:  # only where its gradients are others than the network's
        yield cell(STAND_IN, value=100 * min(smooth))
    yield cell("worst case", value=100 * found["worst_case"])
    for column, end in zip(("from", "to"), found["interval"], strict=True):
        yield cell(f"worst case, {column}", value=100 * end)


def corruption_cells(cell: MakeCell, found: Mapping[str, Judged]) -> Iterator[Cell]:
    """Yield the mean over the corruptions."""
    shares = [100 * judged.shares.mean().item() for judged in found.values()]
    number = len(next(iter(found.values())).shares)
    yield cell("corruptions", value=fmean(shares), unit=PERCENT, num_images=number)


def paper_cells(cell: MakeCell, found: Judged) -> Iterator[Cell]:
    """Yield what the attack of the defence's own paper leaves."""
    left = 100 * found.shares.mean().item()
    yield cell("as its paper attacks", value=left, unit=PERCENT, num_images=len(found.shares))


def certificate_cells(cell: MakeCell, radius: float, found: Certified | None) -> Iterator[Cell]:
    """Yield the share of images whose right answer is proved within the radius."""
    if found is not None:
        share = (found.right & (found.radii >= radius)).float().mean().item()
        column = f"proved in L2 {radius:g}"
        yield cell(column, value=100 * share, unit=PERCENT, num_images=len(found.right))


def attacks(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield what each attack of the audits leaves."""
    for defense in measured(protocol):
        cells = partial(attack_cells, cell_of(protocol, defense, 0))
        yield report(protocol, defense, seed), cells


def attack_cells(cell: MakeCell, found: Report) -> Iterator[Cell]:
    """Yield a cell for each attack."""
    for name, facts in found["attacks"].items():
        value, number = 100 * facts["accuracy"], found["num_images"]
        yield cell(name, value=value, unit=PERCENT, num_images=number)


def signs(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the warning signs that the audits raised; a seed that raised none has no value."""
    for defense in measured(protocol):
        cells = partial(sign_cells, cell_of(protocol, defense, 0))
        yield report(protocol, defense, seed), cells


def sign_cells(cell: MakeCell, found: Report) -> Iterator[Cell]:
    """Yield the number that raised each sign."""
    for sign in found["signs"]:
        yield cell(sign["name"], value=sign["value"], unit="", num_images=found["num_images"])


def cost(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield how many times as long as the plain network's training and answers take."""
    images = protocol.task.images("test", protocol.num_images)
    for defense in measured(protocol):
        both = trained(protocol, defense, seed), plain(protocol, seed)
        cell = cell_of(protocol, defense, protocol.num_images)
        pieces = {"both": both, "inference": Piece(inference, (*both, images))}
        yield pieces, partial(cost_cells, cell)


def cost_cells(cell: MakeCell, found: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield both ratios."""
    own, other = found["both"]
    yield cell("training", value=_ratio(own, other), unit=TIMES)
    yield cell("an answer", value=found["inference"], unit=TIMES)


def _ratio(own: Trained, other: Trained) -> float:
    return own.seconds / other.seconds


TABLES = {SIDE_BY_SIDE: side_by_side, COST: cost, ATTACKS: attacks, SIGNS: signs}
measure = partial(measure_tables, KEY, TABLES)
