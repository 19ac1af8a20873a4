"""What several tables share: trained networks, line searches, and how cells are made."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import Tensor

from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.papers.bang.measuring import LineSearch, line_search
from robustnb.papers.bang.protocols import OTHER, Network, Study
from robustnb.papers.bang.training import Training, train
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell

PERCENT, PIXELS = "%", "0-255 pixel"
PRINTED: dict[str, LineSearch] = {"FGS": FastGradientSign(), "HC1": HotCold()}


def trained(training: Training, network: Network, seed: int) -> Piece:
    """Return the training of a network. R1 is R0 from another seed.

    The networks with BANG start from the weights of R0.
    """
    own_seed = 2 * seed + (network == OTHER)
    cost = training.iterations * training.batch_size / 1000
    return Piece(train, (training, network.beta, network.eps, network.exact, own_seed), cost)


def searched(study: Study, network: Network, attack: LineSearch, seed: int) -> Piece:
    """Return a line search on a network."""
    # The printed attacks are the same pieces in our own tables, which show no similarity.
    num_similar = study.num_similar if attack in PRINTED.values() else 0
    model, images = trained(study.training, network, seed), study.images(study.num_images)
    return Piece(line_search, (model, attack, images, num_similar), cost=study.num_images / 10)


def cell_of(study: Study, num_images: int, **settings: Any) -> Callable[..., Cell]:
    """Return what makes a cell of row, column, value and unit.

    A cell's settings are the fields of the training, and those given.
    """
    settings = {"training": asdict(study.training)} | settings
    dataset = study.training.dataset
    return partial(Cell, dataset=dataset, num_images=num_images, settings=settings)


def percent(which: Tensor) -> float:
    """Return the share that is true, in percent."""
    return 100 * which.float().mean().item()
