"""Tables of our own: why the line searches fail, stronger attacks, random noise, and the cost."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from fractions import Fraction
from functools import partial

from torch import Tensor

from robustnb.attacks.black_box import Square
from robustnb.attacks.gradient import PGD
from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.judging import Judged, worst_case
from robustnb.papers.bang.cost import step_seconds
from robustnb.papers.bang.measuring import Health, LineSearch, Searched, health
from robustnb.papers.bang.parts import PERCENT, PIXELS, cell_of, percent, searched, trained
from robustnb.papers.bang.protocols import OTHER, PLAIN, Network, Study
from robustnb.papers.bang.random_noise import Noisy, add_noise
from robustnb.papers.bang.strong_attacks import perturb, withstand
from robustnb.papers.pieces import Piece
from robustnb.papers.tables import Cell, Part

LOGITS = "logits"
COUNTED = "cross-entropy, p = 1 counted as failed"
BLANK = "failures with a blank gradient"
TRANSFERRED = "PGD, margin, on R1"

HEALTH = {
    "zero_gradients": ("input gradients that are 0", PERCENT, 100.0),
    "certain": ("probabilities of the label that are 1", PERCENT, 100.0),
    "median_margin": ("median margin", LOGITS, 1.0),
    "mean_label_logit": ("mean logit of the label", LOGITS, 1.0),
    "mean_largest_logit": ("mean of the largest |logit|", LOGITS, 1.0),
}
FGS: dict[str, LineSearch] = {
    "cross-entropy": FastGradientSign(),
    "cross-entropy, logits x 0.1": FastGradientSign(scale=0.1),
    "cross-entropy, logits x 0.01": FastGradientSign(scale=0.01),
    "cross-entropy in float64": FastGradientSign(double=True),
    "margin": FastGradientSign(loss="margin"),
}
HOT_COLD: dict[str, LineSearch] = {
    "the paper's weights": HotCold(),
    "the paper's weights, logits + 300": HotCold(shift=300.0),
    "the paper's weights, logits - 300": HotCold(shift=-300.0),
    "unit weights": HotCold(weights="unit"),
}


# Why the line searches fail.


def gradients(study: Study, seed: int) -> Iterator[Part]:
    """Yield the state of gradients and logits, a column for each network."""
    for network in study.dissected:
        yield examined(study, network, seed), partial(gradient_cells, study, network)


def examined(study: Study, network: Network, seed: int) -> Piece:
    """Return what the gradients and logits of a network are like."""
    model, images = trained(study.training, network, seed), study.images(study.num_images)
    return Piece(health, (model, images))


def gradient_cells(study: Study, network: Network, found: Health) -> Iterator[Cell]:
    """Yield the column of a network."""
    cell = cell_of(study, study.num_images)
    for number, (row, unit, factor) in HEALTH.items():
        yield cell(row, network.name, factor * found.numbers[number], unit)


def fgs(study: Study, seed: int) -> Iterator[Part]:
    """Yield success and size of every variant, and of the first as the authors seem to count."""
    for network in study.dissected:
        yield from variants(FGS, study, network, seed)
        first = searched(study, network, FastGradientSign(), seed)
        pieces = first, examined(study, network, seed)
        yield pieces, partial(counted_cells, study, network)


def hot_cold(study: Study, seed: int) -> Iterator[Part]:
    """Yield success and size of every variant of hot/cold."""
    for network in study.dissected:
        yield from variants(HOT_COLD, study, network, seed)


def variants(
    attacks: Mapping[str, LineSearch], study: Study, network: Network, seed: int
) -> Iterator[Part]:
    """Yield success and size of each of several attacks on a network."""
    for name, attack in attacks.items():
        cells = partial(variant_cells, study, network, name, attack)
        yield searched(study, network, attack, seed), cells


def variant_cells(
    study: Study, network: Network, name: str, attack: LineSearch, found: Searched
) -> Iterator[Cell]:
    """Yield success and size of an attack."""
    cell = cell_of(study, study.num_images, attack=asdict(attack))
    yield cell(f"{name}: success", network.name, percent(found.found), PERCENT)
    if found.found.any():  # otherwise nothing has a size
        size = found.linf[found.found].mean().item()
        yield cell(f"{name}: Linf", network.name, size, PIXELS)


def counted_cells(study: Study, network: Network, found: tuple[Searched, Health]) -> Iterator[Cell]:
    """Yield FGS where a probability of 1 counts as a failure, and how many failures are blank."""
    answer, state = found
    counted = Searched(answer.found & ~state.certain, answer.linf, answer.similarity)
    yield from variant_cells(study, network, COUNTED, FastGradientSign(), counted)
    if not answer.found.all():
        share = percent(state.blank[~answer.found])
        yield cell_of(study, study.num_images)(BLANK, network.name, share, PERCENT)


# Attackers who know BANG.


def worst_cases(study: Study, seed: int) -> Iterator[Part]:
    """Yield the share of right answers under each strong attack, and under the worst of them."""
    for network in study.pair:
        for eps in study.eps:
            made = attacked(study, network, eps, seed)
            for name, pieces in made.items():
                yield pieces, partial(strong_cells, study, network, eps, name)
            yield made, partial(worst_cells, study, network, eps)


def strong_attacks(study: Study, eps: float) -> dict[str, PGD | Square]:
    """Return the attacks within a ball of radius `eps`, the last of which is made on R1."""
    pgd = partial(PGD, eps, 2.5 * eps / study.steps, study.steps, study.restarts)
    return {
        "PGD, cross-entropy": pgd(),
        "PGD, margin": pgd(loss="margin"),
        f"Square, {study.queries} queries": Square(eps, study.queries),
        TRANSFERRED: pgd(loss="margin"),
    }


def attacked(
    study: Study, network: Network, eps: float, seed: int
) -> dict[str, tuple[Piece, Piece]]:
    """Return, for each strong attack, the perturbed images and how the network withstands them."""
    images, number = study.images(study.num_attacked), float(study.num_attacked)
    model, other = (trained(study.training, each, seed) for each in (network, OTHER))
    made = {}
    for name, attack in strong_attacks(study, eps).items():
        source = other if name == TRANSFERRED else model
        perturbed = Piece(perturb, (source, attack, images, seed), cost=number)
        made[name] = perturbed, Piece(withstand, (model, perturbed, images))
    return made


def strong_cells(
    study: Study, network: Network, eps: float, name: str, found: tuple[Tensor, Judged]
) -> Iterator[Cell]:
    """Yield the share of right answers under one attack."""
    attacks = {name: asdict(strong_attacks(study, eps)[name])}
    cell = cell_of(study, study.num_attacked, attacks=attacks)
    yield cell(f"{name}, eps={written(eps)}", network.name, percent(found[1].shares), PERCENT)


def worst_cells(
    study: Study, network: Network, eps: float, found: dict[str, tuple[Tensor, Judged]]
) -> Iterator[Cell]:
    """Yield the share of right answers where each image has its worst attack."""
    attacks = {name: asdict(attack) for name, attack in strong_attacks(study, eps).items()}
    left = 100 * worst_case([judged for _, judged in found.values()])
    cell = cell_of(study, study.num_attacked, attacks=attacks)
    yield cell(f"worst case, eps={written(eps)}", network.name, left, PERCENT)


def written(eps: float) -> str:
    """Write 0.1 as it is, and 0.00784314 as 2/255."""
    short = f"{eps:g}"
    return short if len(short) <= 4 else str(Fraction(eps).limit_denominator(255))


# Random noise (Figures 3 and 5).


def random_noise(study: Study, seed: int) -> Iterator[Part]:
    """Yield how many answers change by iteration and noise, a column for each network."""
    pair = tuple(trained(study.training, network, seed) for network in study.pair)
    numbers = study.stds, study.copies, study.per_class, seed
    arguments = pair, study.images(study.candidates), *numbers
    yield Piece(add_noise, arguments, cost=10.0 * study.copies), partial(noise_cells, study)


def noise_cells(study: Study, found: Noisy) -> Iterator[Cell]:
    """Yield two columns, of the plain network and of the one with BANG."""
    cell = cell_of(study, found.num_images, copies=study.copies)
    for (iteration, std, clipped), shares in found.shares.items():
        row = f"iteration {iteration}, std {std:g}{', clipped' * clipped}"
        for network, share in zip(study.pair, shares, strict=True):
            yield cell(row, network.name, 100 * share, PERCENT)


# What it costs.


def cost(study: Study, seed: int) -> Iterator[Part]:
    """Yield the time of a step with BANG and of a plain one, and their ratio."""
    numbers = study.balanced.beta, study.balanced.eps, study.repeats, seed
    yield Piece(step_seconds, (study.training, *numbers)), partial(cost_cells, study)


def cost_cells(study: Study, found: tuple[float, float]) -> Iterator[Cell]:
    """Yield a row of three."""
    balanced, plain = found
    cell = cell_of(study, study.training.batch_size, repeats=study.repeats)
    yield cell("training step", PLAIN.name, 1000 * plain, "ms")
    yield cell("training step", study.balanced.name, 1000 * balanced, "ms")
    yield cell("training step", "ratio", balanced / plain, "times")
