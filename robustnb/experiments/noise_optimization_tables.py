"""The tables of Xiao, Zhang & Peng (2021) and our own: each as pieces, and cells made of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from robustnb.corruptions import CORRUPTIONS
from robustnb.experiments import noise_optimization_checks as checks
from robustnb.experiments import noise_optimization_lbfgs as lbfgs
from robustnb.experiments import noise_optimization_pieces as work
from robustnb.experiments import noise_optimization_published_code as code
from robustnb.experiments.cells import Cell
from robustnb.experiments.noise_optimization_pieces import NOISE_OFF, Shares, Study
from robustnb.experiments.noise_optimization_training import Trained
from robustnb.experiments.pieces import Piece

PRINTED = "printed"  # stands for the study's own table
COLUMNS = ("clean", *work.WHITE_BOX, *CORRUPTIONS, *work.BLACK_BOX)
ACCURACY = "accuracy in [0,1]"
LEARNED = "MLPN Sigmoid"  # the network that the paper's text is most about


@dataclass(frozen=True)
class Table:
    """How a table comes about: its pieces by name, and the cells made of what they return."""

    pieces: Callable[[Study, int], dict[Any, Piece]]
    cells: Callable[[Study, dict[Any, Any]], Iterator[Cell]]


# The published tables, and the same with the noise switched off.


def printed_pieces(study: Study, seed: int) -> dict[Any, Piece]:
    """Name what the ten columns of each network are made of."""
    return _ten_columns(study, study.names, seed)


def printed_cells(study: Study, found: dict[Any, Shares]) -> Iterator[Cell]:
    """Yield the ten columns of each network, its noise on at inference."""
    for name in study.names:
        yield from _columns(study, name, name, found)


def silent_pieces(study: Study, seed: int) -> dict[Any, Piece]:
    """Name the same for the noisy networks without their noise."""
    return _ten_columns(study, [name + NOISE_OFF for name in study.noisy], seed)


def silent_cells(study: Study, found: dict[Any, Shares]) -> Iterator[Cell]:
    """Yield the ten columns of each noisy network, its noise off at inference."""
    for name in study.noisy:
        yield from _columns(study, name, name + NOISE_OFF, found)


def _ten_columns(study: Study, names: Iterable[str], seed: int) -> dict[Any, Piece]:
    attacks = {
        (name, column): work.attacked_piece(study, name, column, seed)
        for name in names
        for column in work.WHITE_BOX
    }
    return work.common_pieces(study, seed) | attacks


def _columns(study: Study, row: str, name: str, found: dict[Any, Shares]) -> Iterator[Cell]:
    for column in COLUMNS:
        answer = found[name, column] if column in work.WHITE_BOX else found[column]
        settings = _asked(study, name) | _changed(study, column)
        number = ACCURACY, answer.seconds, study.num_images
        yield Cell(row, column, answer.of[name], *number, settings)


def _asked(study: Study, name: str) -> dict[str, Any]:
    """Say how a network is asked: how many draws of its noise a mean is over, if there are any."""
    if name in work.PLAIN:
        return {}
    return {"noise at inference": "off"} if name.endswith(NOISE_OFF) else {"draws": study.draws}


def _changed(study: Study, column: str) -> dict[str, Any]:
    """Say what has been done to the images of a column."""
    if column in CORRUPTIONS:
        return {"severities": [1, 2, 3, 4, 5], "constants": study.constants.source}
    if column not in study.attacks:
        return {}
    source = {"source": study.surrogate} if column in work.BLACK_BOX else {}
    return source | {"attack": asdict(study.attacks[column]), "batch": work.BATCH}


# The black box once more, with a source that shares no seed with its targets.


def stranger_pieces(study: Study, seed: int) -> dict[Any, Piece]:
    """Name the transferred attacks whose source starts from other weights than its targets."""
    source_seed = work.stranger(seed)
    return {
        column: work.transferred_piece(study, column, seed, source_seed)
        for column in work.BLACK_BOX
    }


def stranger_cells(study: Study, found: dict[Any, Shares]) -> Iterator[Cell]:
    """Yield the accuracy of each network under them."""
    for name in study.names:
        for column, answer in found.items():
            settings = _asked(study, name) | _changed(study, column)
            settings |= {"seed of the source": f"{work.stranger(0)} + seed"}
            number = ACCURACY, answer.seconds, study.num_images
            yield Cell(name, column, answer.of[name], *number, settings)


# Gradients averaged over the noise, and the worst of several attacks.


def averaged_pieces(study: Study, seed: int) -> dict[Any, Piece]:
    """Name the attacks of the white box with averaged gradients, on each network."""
    return {
        (name, column): work.averaged_piece(study, name, column, seed)
        for name in study.names
        for column in work.WHITE_BOX
    }


def averaged_cells(study: Study, found: dict[Any, Shares]) -> Iterator[Cell]:
    """Yield accuracies under the three attacks when gradients are averaged over the noise."""
    for (name, column), answer in found.items():
        samples = work.samples(study, name)
        settings = _asked(study, name) | _changed(study, column) | {"eot_samples": samples}
        number = ACCURACY, answer.seconds, study.num_attacked
        yield Cell(name, column, answer.of[name], *number, settings)


def worst_pieces(study: Study, seed: int) -> dict[Any, Piece]:
    """Name every strong attack on every network."""
    return {
        (attack, name): Piece(checks.attack_hard, (study, name, attack, seed), 10 * study.cost)
        for name in study.names
        for attack in (*checks.strong_attacks(study), checks.ELSEWHERE)
    }


def worst_cells(study: Study, found: dict[Any, checks.Spared]) -> Iterator[Cell]:
    """Yield the accuracy of each network under each attack, and under the worst for each image."""
    for name in study.names:
        answers = {attack: spared for (attack, of), spared in found.items() if of == name}
        worst = torch.stack([spared.right for spared in answers.values()]).amin(0)
        answers[checks.WORST] = checks.Spared(worst, sum(s.seconds for s in answers.values()))
        for attack, spared in answers.items():
            made = checks.settings(study, attack)
            number = ACCURACY, spared.seconds, study.num_worst
            settings = _asked(study, name) | made
            yield Cell(name, attack, spared.right.mean().item(), *number, settings)


# How training goes, and what a step of it costs.


def trained_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the training of each network."""
    return {name: work.train_piece(study, name, seed) for name in study.names}


def loss_cells(study: Study, found: dict[str, Trained]) -> Iterator[Cell]:
    """Yield the training loss of each epoch (Figure 3)."""
    for name, trained in found.items():
        for epoch in trained.history:
            column = f"epoch {epoch['epoch']:.0f}"
            yield Cell(name, column, epoch["train_loss"], "nats", trained.seconds, 0, {})


def sigma_cells(study: Study, found: dict[str, Trained]) -> Iterator[Cell]:
    """Yield the mean |sigma| of each layer with learned noise, before training and after epochs."""
    for name, trained in found.items():
        for epoch, levels in enumerate(trained.sigmas):
            for layer, level in enumerate(levels, 1):
                if "+" not in name:
                    row, column = f"{name}, layer {layer}", f"epoch {epoch}"
                    yield Cell(row, column, level, "mean |sigma|", trained.seconds, 0, {})


def cost_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the timing of each noisy network."""
    return {name: Piece(checks.step_cost, (study, name, seed)) for name in study.noisy}


def cost_cells(study: Study, found: dict[str, Shares]) -> Iterator[Cell]:
    """Yield the time of a training step over that of the same network without noise."""
    for name, answer in found.items():
        times = {"steps": study.timed}
        yield Cell(name, "step over plain", answer.of[name], "times", answer.seconds, 0, times)


# The theorems, and the saliency maps.


def theorem_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the comparison of the gradient in sigma, for one network."""
    if LEARNED not in study.names:
        return {}
    return {LEARNED: Piece(checks.theorems, (study, LEARNED, seed))}


def theorem_cells(study: Study, found: dict[str, checks.Errors]) -> Iterator[Cell]:
    """Yield how far delta times epsilon is from other ways to compute the same."""
    for name, errors in found.items():
        rest = errors.seconds, 64, {"network": name, "dtype": "float64"}
        relative = "relative error"
        yield Cell("Theorem 1", f"{relative}, autograd", errors.autograd, relative, *rest)
        yield Cell(
            *("Theorem 1", f"{relative}, central differences", errors.differences, relative), *rest
        )
        draws = {**rest[2], "draws": study.copies}
        yield Cell("Theorem 2", "z-score", errors.z_score, "standard errors", rest[0], 1, draws)


def saliency_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name the saliency maps of each network."""
    return {name: Piece(checks.saliency, (study, name, seed)) for name in study.names}


def saliency_cells(study: Study, found: dict[str, Shares]) -> Iterator[Cell]:
    """Yield the areas under the deletion and insertion curves of each network's maps."""
    for name, answer in found.items():
        for column, area in answer.of.items():
            number = "area under the curve", answer.seconds, study.num_worst
            yield Cell(name, column, area, *number, {"num_samples": 25, "sigma": 0.15})


def code_cells(study: Study, found: dict[Any, Shares]) -> Iterator[Cell]:
    """Yield what networks score that are trained or measured as the published code does it."""
    for row, answer in found.items():
        for column, value in answer.of.items():
            unit = code.UNITS.get(column, ACCURACY)
            settings = _changed(study, column) | code.settings(study, row)
            yield Cell(row, column, value, unit, answer.seconds, study.num_images, settings)


TABLES = {
    PRINTED: Table(printed_pieces, printed_cells),
    "noise off": Table(silent_pieces, silent_cells),
    "another seed": Table(stranger_pieces, stranger_cells),
    "EOT": Table(averaged_pieces, averaged_cells),
    "worst case": Table(worst_pieces, worst_cells),
    "L-BFGS": Table(lbfgs.pieces, lbfgs.cells),
    "convergence": Table(trained_pieces, loss_cells),
    "sigma": Table(trained_pieces, sigma_cells),
    "cost": Table(cost_pieces, cost_cells),
    "theorems": Table(theorem_pieces, theorem_cells),
    "saliency": Table(saliency_pieces, saliency_cells),
    "published code": Table(code.pieces, code_cells),
}
