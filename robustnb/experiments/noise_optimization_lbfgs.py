"""The attack that Xiao, Zhang & Peng (2021) name, and what is left of the one that they ran.

Szegedy et al. look for the least distortion of each image, in the box. The published code climbs
the mean loss of a batch without a bound; with batches of one, no image depends on its neighbours.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from robustnb.attacks.lbfgs import LBFGS
from robustnb.experiments.cells import Cell
from robustnb.experiments.noise_optimization_pieces import (
    Study,
    asked,
    defender,
    first_test_images,
    in_batches,
    samples,
)
from robustnb.experiments.noise_optimization_training import share
from robustnb.experiments.pieces import Piece
from robustnb.randomness import seeded
from robustnb.training import Split

SZEGEDY, ALONE = "Szegedy et al.", "the code's, batches of one"


@dataclass(frozen=True)
class Distorted:
    """The accuracy on attacked images, and how far each lies from its original in L2 (N,)."""

    right: float
    lengths: Tensor
    seconds: float


def distort(study: Study, name: str, attack: str, seed: int) -> Distorted:
    """Attack a network by either reading of L-BFGS, and ask it with draws of the defender's."""
    started, model = time.perf_counter(), asked(study, name, seed)
    images, labels = split = first_test_images(study, study.num_worst)
    if attack == SZEGEDY:
        found, _ = in_batches(LBFGS(eot_samples=samples(study, name)), model, split, seed)
    else:
        generator = seeded(1_000 + seed, images.device)
        alone: Iterator[Split] = zip(images.split(1), labels.split(1), strict=True)
        found = torch.cat([study.lbfgs(model, *one, generator) for one in alone])
    right = share(model, (found, labels), study.draws, defender(seed))
    lengths = (found - images).flatten(1).norm(dim=1).cpu()
    return Distorted(right, lengths, time.perf_counter() - started)


def pieces(study: Study, seed: int) -> dict[tuple[str, str], Piece]:
    """Name both attacks on each network."""
    return {
        (name, attack): Piece(distort, (study, name, attack, seed), 10 * study.cost)
        for name in study.names
        for attack in (SZEGEDY, ALONE)
    }


def cells(study: Study, found: dict[tuple[str, str], Distorted]) -> Iterator[Cell]:
    """Yield the accuracy that is left, and the median distortion of the images that were moved."""
    for (name, attack), answer in found.items():
        szegedy = LBFGS(eot_samples=samples(study, name))
        settings: dict[str, Any] = {"attack": asdict(szegedy if attack == SZEGEDY else study.lbfgs)}
        rest = answer.seconds, study.num_worst, settings
        yield Cell(name, f"{attack}: accuracy", answer.right, "accuracy in [0,1]", *rest)
        moved = answer.lengths[answer.lengths > 0]
        if len(moved):
            yield Cell(name, f"{attack}: median L2", moved.median().item(), "L2", *rest)
