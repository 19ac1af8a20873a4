"""What the tables of Kaspar, Hicheur & Bourdrez (2024) share: networks, answers, cells."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from robustnb.papers.pieces import Piece
from robustnb.papers.stochastic_lwta.measuring import answers
from robustnb.papers.stochastic_lwta.protocols import NETWORKS, Protocol
from robustnb.papers.stochastic_lwta.training import train
from robustnb.papers.tables import Cell

MakeCell = Callable[..., Cell]  # takes row, column, value and unit


def trained(protocol: Protocol, name: str, seed: int) -> Piece:
    """Return the training of the network `name`."""
    training, network = protocol.training_of(name), NETWORKS[name]
    attacks = protocol.training_attacks
    passes = 1 + attacks.pgd.steps * (1 if network.always else 0.2)
    cost = training.epochs * training.num_images * passes * (2 if network.winners else 1)
    return Piece(train, (training, network, attacks.of(network), seed), cost)


def answered(protocol: Protocol, name: str, seed: int) -> Piece:
    """Return what the network `name` answers to clean test images."""
    images = protocol.images(protocol.strength.num_images)
    return Piece(answers, (trained(protocol, name, seed), images, seed))


def cell_of(protocol: Protocol, name: str, more: Mapping[str, Any] | None = None) -> MakeCell:
    """Return what makes a cell about the network `name`, with `more` settings."""
    settings = {**protocol.settings_of(name), **(more or {})}
    return partial(Cell, dataset=protocol.training.dataset, settings=settings)
