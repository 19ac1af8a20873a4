"""Tables 1 and 2 of Rozsa, Günther & Boult (2016), and why their two line searches fail.

Each table is pieces, and cells made of them. Tables 1 and 2 differ in their study alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.experiments import bang_pieces as work
from robustnb.experiments.bang_training import Network, Training
from robustnb.experiments.cells import Cell
from robustnb.experiments.pieces import Piece

PLAIN = Network("R0")
OTHER = Network("R1")  # the attacker's own, whose perturbations are transferred
PERCENT, PIXELS, LOGITS = "%", "0-255 pixel", "logits"
COUNTED = "cross-entropy, p = 1 counted as failed"
BLANK = "failures with a blank gradient"

HEALTH = {
    "zero_gradients": ("input gradients that are 0", PERCENT, 100.0),
    "certain": ("probabilities of the label that are 1", PERCENT, 100.0),
    "median_margin": ("median margin", LOGITS, 1.0),
    "mean_label_logit": ("mean logit of the label", LOGITS, 1.0),
    "mean_largest_logit": ("mean of the largest |logit|", LOGITS, 1.0),
}
FGS = {
    "cross-entropy": FastGradientSign(),
    "cross-entropy, logits x 0.1": FastGradientSign(scale=0.1),
    "cross-entropy, logits x 0.01": FastGradientSign(scale=0.01),
    "cross-entropy in float64": FastGradientSign(double=True),
    "margin": FastGradientSign(loss="margin"),
}
HOT_COLD = {
    "the paper's weights": HotCold(),
    "the paper's weights, logits + 300": HotCold(shift=300.0),
    "the paper's weights, logits - 300": HotCold(shift=-300.0),
    "unit weights": HotCold(weights="unit"),
}


@dataclass(frozen=True)
class Study:
    """Say what is trained, attacked and measured on one data set.

    `networks` are those of the printed table, `balanced` the one of them that is compared with R0
    under noise of `stds` (0 to 255) and under strong attacks; `grid` are those of Figures 2 and 4.
    Line searches start from the first `num_images` test images, PASS is of `num_similar` of their
    successes, and the strong attacks have the first `num_attacked` images. Noise is tried on
    `copies` of each of at most `per_class` images of a class.
    """

    training: Training
    networks: tuple[Network, ...]
    balanced: Network
    stds: tuple[float, ...]
    grid: tuple[Network, ...] = ()
    num_images: int = 1_000
    num_similar: int = 1_000
    copies: int = 5
    per_class: int = 100
    num_attacked: int = 300
    eps: tuple[float, ...] = (0.1, 0.2, 0.3)
    steps: int = 40
    restarts: int = 2
    queries: int = 500

    @property
    def dissected(self) -> tuple[Network, ...]:
        """Return the networks of our own tables: the printed ones, and one without rounding."""
        return (*self.networks, replace(self.balanced, exact=True))

    @property
    def pair(self) -> tuple[Network, Network]:
        """Return the two networks that the paper compares under noise."""
        return PLAIN, self.balanced


@dataclass(frozen=True)
class Table:
    """How a table comes about: what it trains, its other pieces by name, and cells from them."""

    networks: Callable[[Study], Iterable[Network]]
    pieces: Callable[[Study, int], dict[Any, Piece]]
    cells: Callable[[Study, dict[Any, Any]], Iterator[Cell]]


def settings_of(study: Study, **more: Any) -> dict[str, Any]:
    """Return the fields of the study's training, and of an attack under the name of its keyword."""
    return {"training": asdict(study.training)} | {name: asdict(a) for name, a in more.items()}


def percent(which: Tensor) -> float:
    """Return the share that is true, in percent."""
    return 100 * which.float().mean().item()


# Tables 1 and 2, and the grids of Figures 2 and 4.


def printed_pieces(
    networks: Iterable[Network], study: Study, seed: int
) -> dict[tuple[str, str], Piece]:
    """Name the accuracy and both line searches of each network, by its name."""
    cost = study.num_images / 10
    found: dict[tuple[str, str], Piece] = {}
    for network in networks:
        found[network.name, "accuracy"] = Piece(work.accuracy, (study.training, network, seed))
        for name, attack in {"FGS": FastGradientSign(), "HC1": HotCold()}.items():
            numbers = study.num_images, study.num_similar
            arguments = (study.training, network, attack, *numbers, seed)
            found[network.name, name] = Piece(work.line_search, arguments, cost)
    return found


def printed_cells(study: Study, found: dict[tuple[str, str], Any]) -> Iterator[Cell]:
    """Yield the seven numbers of each network's row."""
    for (name, kind), answer in found.items():
        if kind == "accuracy":
            of_all = partial(Cell, seconds=answer.seconds, num_images=len(answer.right))
            yield of_all(name, kind, percent(answer.right), PERCENT, settings=settings_of(study))
            continue
        attack = FastGradientSign() if kind == "FGS" else HotCold()
        settings = settings_of(study, attack=attack) | {"similar": study.num_similar}
        cell = partial(
            Cell, name, seconds=answer.seconds, num_images=study.num_images, settings=settings
        )
        yield cell(f"{kind} rate", percent(answer.found), PERCENT)
        if answer.found.any():  # otherwise nothing has a size
            yield cell(f"{kind} PASS", answer.similarity.mean().item(), "mean")
            yield cell(f"{kind} Linf", answer.linf[answer.found].mean().item(), PIXELS)


# Why the fast gradient sign fails.


def health_pieces(study: Study, seed: int) -> dict[str, Piece]:
    """Name what each network's gradients and logits are like."""
    return {
        network.name: Piece(work.health, (study.training, network, study.num_images, seed))
        for network in study.dissected
    }


def gradient_cells(study: Study, found: dict[str, work.Health]) -> Iterator[Cell]:
    """Yield the state of gradients and logits, a column for each network."""
    for name, answer in found.items():
        rest = answer.seconds, study.num_images, settings_of(study)
        for number, (row, unit, factor) in HEALTH.items():
            yield Cell(row, name, factor * answer.numbers[number], unit, *rest)


def variant_pieces(
    attacks: dict[str, work.LineSearch], study: Study, seed: int
) -> dict[tuple[str, str], Piece]:
    """Name a line search of each network for each variant of an attack."""
    return {
        (network.name, name): _without_similarity(study, network, attack, seed)
        for network in study.dissected
        for name, attack in attacks.items()
    }


def _without_similarity(
    study: Study, network: Network, attack: work.LineSearch, seed: int
) -> Piece:
    # The attacks of the printed tables are there already, with their similarity.
    known = attack in (FastGradientSign(), HotCold())
    similar = study.num_similar if known else 0
    arguments = (study.training, network, attack, study.num_images, similar, seed)
    return Piece(work.line_search, arguments, study.num_images / 10)


def fgs_pieces(study: Study, seed: int) -> dict[tuple[str, str], Piece]:
    """Name every variant of the fast gradient sign, and what the gradients are like."""
    gradients = health_pieces(study, seed)
    return variant_pieces(dict(FGS), study, seed) | {
        (name, "health"): piece for name, piece in gradients.items()
    }


def fgs_cells(study: Study, found: dict[tuple[str, str], Any]) -> Iterator[Cell]:
    """Yield success and size of every variant, and of the first as the authors seem to count."""
    for name in (network.name for network in study.dissected):
        for variant, attack in FGS.items():
            yield from _searched(study, name, variant, attack, found[name, variant])
        answer, gradients = found[name, "cross-entropy"], found[name, "health"]
        counted = work.Searched(
            answer.found & ~gradients.certain, answer.linf, answer.similarity, answer.seconds
        )
        yield from _searched(study, name, COUNTED, FastGradientSign(), counted)
        if not answer.found.all():
            share, settings = percent(gradients.blank[~answer.found]), settings_of(study)
            numbers = share, PERCENT, answer.seconds, study.num_images
            yield Cell(BLANK, name, *numbers, settings)


def hot_cold_pieces(study: Study, seed: int) -> dict[tuple[str, str], Piece]:
    """Name every variant of hot/cold."""
    return variant_pieces(dict(HOT_COLD), study, seed)


def hot_cold_cells(study: Study, found: dict[tuple[str, str], Any]) -> Iterator[Cell]:
    """Yield success and size of every variant of hot/cold."""
    for (name, variant), answer in found.items():
        yield from _searched(study, name, variant, HOT_COLD[variant], answer)


def _searched(
    study: Study, name: str, variant: str, attack: work.LineSearch, answer: work.Searched
) -> Iterator[Cell]:
    settings = settings_of(study, attack=attack)
    rest = answer.seconds, study.num_images, settings
    yield Cell(f"{variant}: success", name, percent(answer.found), PERCENT, *rest)
    if answer.found.any():
        size = answer.linf[answer.found].mean().item()
        yield Cell(f"{variant}: Linf", name, size, PIXELS, *rest)
