"""What Xiao, Zhang & Peng (2021) leave out: stronger attackers, controls, theorems, costs."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS
from robustnb.judging import Judged, worst_case
from robustnb.papers.noise_optimization.cost import step_cost
from robustnb.papers.noise_optimization.measuring import (
    BATCH,
    Distorted,
    Inference,
    distort,
    evaluate_attacked,
)
from robustnb.papers.noise_optimization.parts import (
    ACCURACY,
    Network,
    Settings,
    accuracy,
    attacked,
    cell,
    clean,
    made_by,
    network,
    ten_columns,
    trained,
    transferred,
)
from robustnb.papers.noise_optimization.protocols import Protocol, Study, without_noise
from robustnb.papers.noise_optimization.published_code import (
    CHANGE,
    ENOUGH,
    MEAN,
    MOST_EPOCHS,
    STD,
    evaluate_clamped,
    train_signs,
    train_until_enough,
)
from robustnb.papers.noise_optimization.saliency_maps import NUM_SAMPLES, SIGMA, saliency_areas
from robustnb.papers.noise_optimization.strong_attacks import judge_attacked
from robustnb.papers.noise_optimization.theorems import Errors, compare_gradients
from robustnb.papers.noise_optimization.training import Trained
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part

ANOTHER_SEED = 1_000  # added to a seed, for a network that shares no initial weight with others
ELSEWHERE, WORST = "PGD on another network", "worst case"
SZEGEDY, ALONE = "Szegedy et al.", "the code's, batches of one"
PLAIN, LEARNED = "MLP Sigmoid", "MLPN Sigmoid"  # the networks that the paper's text is most about
CODED = f"{LEARNED}, as coded: unit noise, in training alone"
STOPPED, CLAMPED = ", stopped on test accuracy", ", normalised and clamped"


def noise_off(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the columns of Tables 3 to 6 for the noisy networks without their noise."""
    for study, name in _networks(protocol):
        if name in study.noisy:
            yield from ten_columns(study, network(study, name, seed, noise=False), seed)


def another_seed(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield accuracies under transferred attacks whose source has a seed of its own."""
    for study, name in _networks(protocol):
        told = {"seed of the source": f"{ANOTHER_SEED} + seed"}
        target = network(study, name, seed).with_settings(told)
        for column in study.black_box:
            yield transferred(study, target, column, seed, source_seed=ANOTHER_SEED + seed)


def averaged_gradients(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield accuracies under the white box when gradients are averaged over the noise."""
    for study, name in _networks(protocol):
        samples = study.samples(name)
        target = network(study, name, seed).with_settings({"eot_samples": samples})
        for column, attack in study.white_box.items():
            averaged = replace(attack, eot_samples=samples)
            yield accuracy(
                *(study, target, column, seed, evaluate_attacked, (averaged,), made_by(attack)),
                num_images=study.num_attacked,
            )


# The worst of several attacks.


def worst_cases(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield accuracies under each of four strong attacks, and under the worst for each image."""
    for study, name in _networks(protocol):
        target, attacks = network(study, name, seed), study.strong_attacks
        pieces = {
            column: _judged(study, target, target.trained, attack, study.samples(name), seed)
            for column, attack in attacks.items()
        }
        attacks[ELSEWHERE] = replace(study.long_pgd, eot_samples=1)
        source = trained(study, study.surrogate, seed)
        pieces[ELSEWHERE] = _judged(study, target, source, attacks[ELSEWHERE], 1, seed)
        for column, piece in pieces.items():
            yield (piece,), _worst(study, target, column, {column: attacks[column]})
        yield tuple(pieces.values()), _worst(study, target, WORST, attacks)


def _judged(
    study: Study, target: Network, source: Piece, attack: PGD | Square, samples: int, seed: int
) -> Piece:
    """Return how a network does on images that are attacked on `source`."""
    averaged, draws = replace(attack, eot_samples=samples), target.inference.draws
    arguments = target.trained, source, averaged, study.images(study.num_worst), draws, seed
    return Piece(judge_attacked, arguments, 10 * study.epoch_seconds)


def _worst(
    study: Study, target: Network, column: str, attacks: dict[str, PGD | Square]
) -> Callable[[tuple[Judged, ...]], Iterator[Cell]]:
    """Return the function that makes the cell of a worst case."""
    fields = {name: asdict(attack) for name, attack in attacks.items()}
    settings = target.settings | {"attacks": fields, "source": study.surrogate}

    def cells(judged: tuple[Judged, ...]) -> Iterator[Cell]:
        value = worst_case(judged)
        yield cell(study, target.row, column, value, ACCURACY, study.num_worst, settings)

    return cells


# Two readings of L-BFGS.


def distortions(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the accuracy that two readings of L-BFGS leave, and how far they move an image.

    Szegedy et al. look for the least distortion of each image, in the box. The published code
    climbs the mean loss of a batch without a bound; with batches of one, no image depends on its
    neighbours.
    """
    for study, name in _networks(protocol):
        target, images = network(study, name, seed), study.images(study.num_worst)
        readings: dict[str, tuple[LBFGS | BatchLBFGS, int]] = {
            SZEGEDY: (LBFGS(eot_samples=study.samples(name)), BATCH),
            ALONE: (study.lbfgs, 1),
        }
        for reading, (attack, batch) in readings.items():
            arguments = target.trained, attack, batch, images, target.inference.draws, seed
            cells = partial(_distorted, study, name, reading, attack)
            yield Piece(distort, arguments, 10 * study.epoch_seconds), cells


def _distorted(
    study: Study, name: str, reading: str, attack: LBFGS | BatchLBFGS, found: Distorted
) -> Iterator[Cell]:
    """Yield the accuracy, and the median distortion of the images that were moved."""
    on = study.num_worst, {"attack": asdict(attack)}
    yield cell(study, name, f"{reading}: accuracy", found.accuracy, ACCURACY, *on)
    moved = found.lengths[found.lengths > 0]
    if len(moved):
        yield cell(study, name, f"{reading}: median L2", moved.median().item(), "L2", *on)


# How training goes, and what a step of it costs.


def convergence(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the training loss of each epoch (Figure 3)."""
    for study, name in _networks(protocol):
        yield trained(study, name, seed), partial(_losses, study, name)


def _losses(study: Study, name: str, found: Trained) -> Iterator[Cell]:
    for epoch in found.history:
        yield cell(study, name, f"epoch {epoch['epoch']:.0f}", epoch["train_loss"], "nats")


def sigmas(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the mean |sigma| of each layer with learned noise, before training and after epochs."""
    for study, name in _networks(protocol):
        if name in study.noisy and "+" not in name:
            yield trained(study, name, seed), partial(_levels, study, name)


def _levels(study: Study, name: str, found: Trained) -> Iterator[Cell]:
    for epoch, levels in enumerate(found.sigmas):
        for layer, level in enumerate(levels, 1):
            row = f"{name}, layer {layer}"
            yield cell(study, row, f"epoch {epoch}", level, "mean |sigma|")


def costs(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the time of a training step over that of the same network without noise."""
    for study, name in _networks(protocol):
        if name in study.noisy:
            arguments = study.training, without_noise(name), name, study.timed, seed
            yield Piece(step_cost, arguments), partial(_times, study, name)


def _times(study: Study, name: str, times: float) -> Iterator[Cell]:
    steps = {"steps": study.timed}
    yield cell(study, name, "step over plain", times, "times", settings=steps)


# The theorems, and the saliency maps.


def theorems(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield how far delta times epsilon is from other ways to compute the same, for one network."""
    for study in protocol.studies:
        if LEARNED in study.networks:
            arguments = trained(study, LEARNED, seed), study.images(64), study.copies, seed
            yield Piece(compare_gradients, arguments), partial(_errors, study)


def _errors(study: Study, found: Errors) -> Iterator[Cell]:
    unit, about = "relative error", Settings(network=LEARNED, dtype="float64")
    for way, error in (("autograd", found.autograd), ("central differences", found.differences)):
        yield cell(study, "Theorem 1", f"relative error, {way}", error, unit, 64, about)
    about["draws"] = study.copies
    yield cell(study, "Theorem 2", "z-score", found.z_score, "standard errors", 1, about)


def saliency(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield the areas under the deletion and insertion curves of each network's maps."""
    for study, name in _networks(protocol):
        arguments = trained(study, name, seed), study.images(study.num_worst), seed
        yield Piece(saliency_areas, arguments, study.epoch_seconds), partial(_areas, study, name)


def _areas(study: Study, name: str, found: dict[str, float]) -> Iterator[Cell]:
    settings = {"num_samples": NUM_SAMPLES, "sigma": SIGMA}
    for column, area in found.items():
        yield cell(study, name, column, area, "area under the curve", study.num_worst, settings)


# What the published code does.


def published_code(protocol: Protocol, seed: int) -> Iterator[Part]:
    """Yield what networks score that are trained or measured as the published code does it."""
    for study in protocol.studies:
        if LEARNED in study.networks:
            for each in _as_coded(study, seed):
                yield clean(study, each, seed)
                for column in ("white-box FGSM", "white-box PGD"):
                    yield attacked(study, each, column, seed)
        if study.table == "5":
            for name in study.networks:
                yield _clamped(study, network(study, name, seed), seed)


def _as_coded(study: Study, seed: int) -> Iterator[Network]:
    """Yield the perceptrons as printed, and as the code builds and trains them."""
    draws, cost = Settings(draws=study.draws), study.epoch_seconds * study.training.epochs
    for name in (PLAIN, LEARNED):
        yield replace(network(study, name, seed), settings=draws)
    coded = network(study, "MLP+ Sigmoid", seed, noise=False)
    yield replace(coded, row=CODED, settings=draws)
    for signed, how in ((False, "without"), (True, "with")):
        piece = Piece(train_signs, (study.training, LEARNED, signed, seed), cost)
        told = draws | {"sigma_init": "N(0, 1)", "optimizer": "Adam for weights and sigma"}
        row = f"{LEARNED}, sigma gradient {how} its sign"
        yield Network(row, piece, Inference(study.draws), told)
    for name in (PLAIN, LEARNED):
        piece = Piece(train_until_enough, (study.training, name, seed), cost)
        told = draws | {"stop above": ENOUGH, "epochs at most": MOST_EPOCHS}
        yield replace(
            network(study, name, seed), row=f"{name}{STOPPED}", trained=piece, settings=told
        )


def _clamped(study: Study, target: Network, seed: int) -> Part:
    """Return the accuracies on images that are normalised, attacked there, and clamped."""
    images, draws = study.images(study.num_images), target.inference.draws
    arguments = target.trained, study.fgsm.eps, images, draws, seed
    settings = {"draws": study.draws, "mean": MEAN, "std": STD}

    def cells(found: dict[str, float]) -> Iterator[Cell]:
        for column, value in found.items():
            unit = "pixels of 0 to 1" if column == CHANGE else ACCURACY
            made = made_by(study.fgsm) if column == "white-box FGSM" else {}
            rest = unit, study.num_images, settings | made
            yield cell(study, f"{target.row}{CLAMPED}", column, value, *rest)

    return Piece(evaluate_clamped, arguments, study.epoch_seconds), cells


def _networks(protocol: Protocol) -> Iterator[tuple[Study, str]]:
    """Yield all networks of a protocol, each with what its table is about."""
    for study in protocol.studies:
        for name in study.networks:
            yield study, name
