"""Tables 1 and 2 of Rozsa, Günther & Boult (2016), the grids of Figures 2 and 4, and our own.

Tables 1 and 2 differ in their study alone, and so do our own tables, whose names end in CIFAR-10
where they are about it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial

from torch import Tensor

from robustnb.papers.bang.measuring import Searched, correct
from robustnb.papers.bang.own_tables import (
    cost,
    fgs,
    gradients,
    hot_cold,
    random_noise,
    worst_cases,
)
from robustnb.papers.bang.parts import (
    PERCENT,
    PIXELS,
    PRINTED,
    cell_of,
    percent,
    searched,
    trained,
)
from robustnb.papers.bang.protocols import Network, Protocol, Study
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part, measure_tables

OfStudy = Callable[[Study, int], Iterable[Part]]


def printed(study: Study, seed: int) -> Iterator[Part]:
    """Yield Table 1 or 2."""
    return performance(study.networks, study, seed)


def grid(study: Study, seed: int) -> Iterator[Part]:
    """Yield the same of a grid of networks."""
    return performance(study.grid, study, seed)


def performance(networks: Iterable[Network], study: Study, seed: int) -> Iterator[Part]:
    """Yield the seven numbers of each network's row: its accuracy, and three of each attack."""
    for network in networks:
        accuracy = Piece(correct, (trained(study.training, network, seed), study.images()))
        yield accuracy, partial(accuracy_cells, study, network)
        for name, attack in PRINTED.items():
            cells = partial(attack_cells, study, network, name)
            yield searched(study, network, attack, seed), cells


def accuracy_cells(study: Study, network: Network, right: Tensor) -> Iterator[Cell]:
    """Yield the share of all test images that are classified correctly."""
    yield cell_of(study, len(right))(network.name, "accuracy", percent(right), PERCENT)


def attack_cells(study: Study, network: Network, name: str, found: Searched) -> Iterator[Cell]:
    """Yield success, PASS and size of a printed attack."""
    settings = {"attack": asdict(PRINTED[name]), "similar": study.num_similar}
    cell = partial(cell_of(study, study.num_images, **settings), network.name)
    yield cell(f"{name} rate", percent(found.found), PERCENT)
    if found.found.any():  # otherwise nothing has a size
        yield cell(f"{name} PASS", found.similarity.mean().item(), "mean")
        yield cell(f"{name} Linf", found.linf[found.found].mean().item(), PIXELS)


def on_mnist(table: OfStudy, protocol: Protocol, seed: int) -> Iterable[Part]:
    """Return the parts of a table about MNIST, or what is in its place."""
    return table(protocol.mnist, seed)


def on_cifar10(table: OfStudy, protocol: Protocol, seed: int) -> Iterable[Part]:
    """Return the parts of a table about CIFAR-10, none where the protocol leaves it out."""
    return () if protocol.cifar10 is None else table(protocol.cifar10, seed)


OWN: dict[str, OfStudy] = {
    "gradients": gradients,
    "fgs": fgs,
    "hot-cold": hot_cold,
    "worst case": worst_cases,
    "random noise": random_noise,
    "grid": grid,
    "cost": cost,
}
TABLES = {
    "1": partial(on_mnist, printed),
    **{name: partial(on_mnist, table) for name, table in OWN.items()},
    "2": partial(on_cifar10, printed),
    **{f"{name}, CIFAR-10": partial(on_cifar10, table) for name, table in OWN.items()},
}
measure = partial(measure_tables, "bang", TABLES)
