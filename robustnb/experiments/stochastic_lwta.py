"""Tables 1 and 2 and Figure 3 of Kaspar et al. (2024), and the attacks that they leave out."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

from joblib import cpu_count

from robustnb.attacks.black_box import Square
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.gradient import PGD
from robustnb.data import load
from robustnb.experiments.cells import Cell
from robustnb.experiments.pieces import Piece, finish, result
from robustnb.experiments.stochastic_lwta_attacks import (
    Certified,
    asked_piece,
    certified_piece,
    described,
)
from robustnb.experiments.stochastic_lwta_pieces import (
    LWTA,
    MIXED_NOISE,
    NETWORKS,
    NOISE,
    PAPER,
    REGULAR,
    SMOOTH_LWTA,
    SMOOTHING,
    TUNED,
    Answered,
    Architecture,
    Timed,
    Trained,
    Training,
    answered_piece,
    device,
    timed_piece,
    trained_piece,
    tuned,
)
from robustnb.experiments.stochastic_lwta_tables import (
    Assault,
    Strength,
    Tasks,
    constants,
    controls,
    networks_of,
    on_both_lwta,
    on_lwta,
    on_pni,
    steps,
    table_1,
    table_2,
    temperatures,
    training_eps,
)
from robustnb.metrics import expected_calibration_error, reliability
from robustnb.results import Row, over_seeds

DEEP, DEEP_LOSS = "attacks on LWTA, WRN-34-1", "training loss, WRN-34-1"
RADII = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)  # of certificates, in L2


@dataclass(frozen=True)
class Protocol:
    """Say what is trained, attacked and measured; the defaults are the report's.

    It attacked 1,024 images: see the chapter's exercises. `timed` is the network whose time is
    taken, trained or not, on `batches` of images. Certificates rest on `certified_draws`. `deep` is
    what is done besides with the report's architecture, where the rest has a smaller one.
    """

    training: Training = field(default_factory=Training)
    strength: Strength = field(default_factory=Strength)
    timed: Architecture = "WRN-34-1"
    batches: tuple[int, ...] = (1, 128)
    certified_draws: int = 1_000
    deep: "Protocol | None" = None


PROTOCOLS = {
    "smoke": Protocol(
        training=Training(
            *("digits", 8, "small CNN"),
            num_images=600,
            num_validation=100,
            schedule="one-cycle",
            batch_size=32,
            epochs=5,
            pgd=PGD(eps=0.1, alpha=0.04, steps=4),
            carlini_wagner=CarliniWagner(c=1.0, steps=5),
        ),
        strength=Strength(
            num_images=100,
            num_attacked=60,
            draws=5,
            pgd=PGD(eps=0.1, alpha=0.04, steps=5),
            square=Square(eps=0.1, queries=50, eot_samples=3),
            eot_samples=(1, 10),
            few=5,
            temperatures=(0.01, 0.1, 0.67),
            steps=(3, 30),
            constants=(1e-4, 1.0),
        ),
        timed="small CNN",
        certified_draws=100,
    ),
    "laptop": Protocol(
        training=Training(
            *("cifar10", 16, "small CNN"),
            num_images=20_000,
            num_validation=500,
            schedule="one-cycle",
            epochs=10,
            pgd=PGD(eps=8 / 255, alpha=0.01, steps=5),
            carlini_wagner=CarliniWagner(c=1.0, steps=5),
        ),
        strength=Strength(
            num_images=400,
            num_attacked=200,
            pgd=PGD(eps=8 / 255, alpha=2 / 255, steps=10),
            square=Square(eps=8 / 255, queries=200, eot_samples=4),
            few=5,
            steps=(3, 10, 30),
            constants=(1e-4, 1e-2, 1.0),
        ),
        certified_draws=500,
        deep=Protocol(
            training=Training(
                *("cifar10", 16, "WRN-34-1"),
                num_images=20_000,
                num_validation=500,
                schedule="one-cycle",
                epochs=6,
                pgd=PGD(eps=8 / 255, alpha=0.01, steps=5),
            ),
            strength=Strength(
                num_attacked=128,
                pgd=PGD(eps=8 / 255, alpha=2 / 255, steps=10),
                square=Square(eps=8 / 255, queries=200, eot_samples=4),
                few=5,
            ),
        ),
    ),
    "paper": Protocol(),
}


@dataclass(frozen=True)
class Table:
    """A table's trainings, which come first, the pieces it needs then, and its cells."""

    trainings: Callable[[Protocol, int], Iterable[Piece]]
    pieces: Callable[[Protocol, int], Iterable[Piece]]
    cells: Callable[[Protocol, int], Iterator[Cell]]


def under_attack(tasks: Callable[[Strength], Tasks]) -> Table:
    """Make a table of accuracies under attacks."""

    def pieces(protocol: Protocol, seed: int) -> Iterator[Piece]:
        for assault in tasks(protocol.strength).values():
            yield from _asked(protocol, assault, seed)

    def cells(protocol: Protocol, seed: int) -> Iterator[Cell]:
        for (row, column), assault in tasks(protocol.strength).items():
            answers = [result(piece) for piece in _asked(protocol, assault, seed)]
            yield Cell(
                *(row, column, assault.accuracy(answers), "%"),
                sum(answer.seconds for answer in answers),
                assault.tasks[0].num_images,
                _settings(protocol, assault),
            )

    def trainings(protocol: Protocol, seed: int) -> Iterator[Piece]:
        for name in networks_of(tasks(protocol.strength)):
            yield _trained(protocol, name, seed)

    return Table(trainings, pieces, cells)


def _asked(protocol: Protocol, assault: Assault, seed: int) -> list[Piece]:
    return [asked_piece(protocol.training, task, seed) for task in assault.tasks]


def _settings(protocol: Protocol, assault: Assault) -> dict[str, Any]:
    """Return what the cell of an assault depends on."""
    task = assault.tasks[0]
    return {
        **_trained_as(protocol, task.network),
        "attacks": [described(each.attack) for each in assault.tasks],
        "draws": task.draws,
        "noise off": task.quiet,
    }


def _trained_as(protocol: Protocol, name: str) -> dict[str, Any]:
    """Return what sets the network `name` apart, and how it was trained."""
    network = {"name": name} | asdict(NETWORKS[name])
    return {"training": asdict(tuned(protocol.training, name)), "network": network}


def of_networks(
    names: Collection[str],
    piece: Callable[[Protocol, str, int], Piece],
    cells: Callable[[str, Any], Iterator[tuple[str, str, float, str]]],
    settings: Callable[[Protocol], dict[str, Any]] = lambda _: {},
    *,
    are_trained: bool = True,
) -> Table:
    """Make a table from one piece for each network, of which `cells` yields place, value, unit."""

    def all_cells(protocol: Protocol, seed: int) -> Iterator[Cell]:
        for name in names:
            found = result(piece(protocol, name, seed))
            known = _trained_as(protocol, name) | settings(protocol)
            if not are_trained:
                del known["training"]
            for row, column, value, unit in cells(name, found):
                yield Cell(row, column, value, unit, found.seconds, found.num_images, known)

    def pieces(protocol: Protocol, seed: int) -> list[Piece]:
        return [piece(protocol, name, seed) for name in names]

    def trainings(protocol: Protocol, seed: int) -> list[Piece]:
        return [_trained(protocol, name, seed) for name in names if are_trained]

    return Table(trainings, pieces, all_cells)


def deeper(table: Table) -> Table:
    """Make the same table about `deep` of a protocol, with no cell where there is none."""

    def of(part: Callable[[Protocol, int], Iterable[Any]]) -> Callable[[Protocol, int], Any]:
        return lambda protocol, seed: iter(part(protocol.deep, seed) if protocol.deep else ())

    return Table(of(table.trainings), of(table.pieces), of(table.cells))


def _answered(protocol: Protocol, name: str, seed: int) -> Piece:
    return answered_piece(protocol.training, name, protocol.strength.num_images, seed)


def _histogram(name: str, found: Answered) -> Iterator[tuple[str, str, float, str]]:
    """Yield the share of images by the probability of the class that is answered (Figure 3)."""
    confidence, answer = found.probabilities.max(1)
    right = confidence[answer == found.labels]
    for column, values in (("all images", confidence), ("right answers", right)):
        bins = (values * 10).long().clamp(max=9).bincount(minlength=10)
        for number, count in enumerate(bins.tolist()):
            row = f"{number / 10:.1f} to {(number + 1) / 10:.1f}"
            yield row, f"{name}, {column}", 100 * count / max(len(values), 1), "%"


def _calibration(name: str, found: Answered) -> Iterator[tuple[str, str, float, str]]:
    confidence = found.probabilities.max(1).values
    bins = reliability(found.probabilities, found.labels)
    yield name, "ECE", expected_calibration_error(bins), ""
    yield name, "mean probability of the answer", confidence.mean().item(), ""
    yield name, "mean probability of a class", found.probabilities.mean().item(), ""
    yield name, "answers above 0.5", 100 * (confidence > 0.5).float().mean().item(), "%"


def _timed(protocol: Protocol, name: str, seed: int) -> Piece:
    training = replace(protocol.training, architecture=protocol.timed, side=None)
    return timed_piece(training, name, protocol.batches, seed)


def _timing(protocol: Protocol) -> dict[str, Any]:
    return {"architecture": protocol.timed}


def _times(name: str, found: Timed) -> Iterator[tuple[str, str, float, str]]:
    for batch, milliseconds in found.milliseconds.items():
        yield name, f"batch of {batch}", milliseconds, "ms"


def _trained(protocol: Protocol, name: str, seed: int) -> Piece:
    return trained_piece(protocol.training, name, seed)


def _coefficients(name: str, found: Trained) -> Iterator[tuple[str, str, float, str]]:
    """Yield the mean |alpha| of the layers, and that of the first and of the last, by epoch."""
    for epoch, by_layer in enumerate(found.strengths):
        first, *_, last = by_layer.values()
        means = {"mean": fmean(by_layer.values()), "first layer": first, "last layer": last}
        for column, value in means.items():
            yield f"epoch {epoch}", f"{name}, {column}", value, ""


def _losses(name: str, found: Trained) -> Iterator[tuple[str, str, float, str]]:
    for epoch in found.history:
        yield f"epoch {epoch['epoch']:.0f}", name, epoch["train_loss"], "nats"


def _certified(protocol: Protocol, name: str, seed: int) -> Piece:
    number, draws = protocol.strength.num_attacked, protocol.certified_draws
    return certified_piece(protocol.training, name, number, draws, seed)


def _certificates(name: str, found: Certified) -> Iterator[tuple[str, str, float, str]]:
    for radius in RADII:
        share = (found.right & (found.radii >= radius)).float().mean().item()
        yield f"radius {radius:g}", name, 100 * share, "%"


TABLES = {
    "1": under_attack(table_1),
    "2": under_attack(table_2),
    "controls": under_attack(controls),
    "training eps": under_attack(training_eps),
    "attacks on LWTA": under_attack(on_both_lwta),
    DEEP: deeper(under_attack(on_lwta)),
    DEEP_LOSS: deeper(of_networks((LWTA, TUNED), _trained, _losses)),
    "temperature": under_attack(temperatures),
    "attacks on PNI": under_attack(on_pni),
    "steps": under_attack(steps),
    "CW constant": under_attack(constants),
    "confidence": of_networks((LWTA, TUNED), _answered, _histogram),
    "calibration": of_networks((REGULAR, TUNED, LWTA, SMOOTH_LWTA), _answered, _calibration),
    "cost": of_networks((REGULAR, LWTA), _timed, _times, _timing, are_trained=False),
    "coefficients": of_networks((NOISE, MIXED_NOISE), _trained, _coefficients),
    "certificate": of_networks(
        (REGULAR, SMOOTHING), _certified, _certificates, lambda p: {"draws": p.certified_draws}
    ),
}


def measure(
    profile: str,
    seeds: Iterable[int] = (0,),
    tables: Collection[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Compute what is missing of a profile and return its rows, averaged over seeds.

    Of `tables` alone, if they are named. Runs `jobs` processes side by side (all cores unless
    given). What was computed before, also by a run that was killed, is read from the disk.
    """
    if profile not in PROTOCOLS:
        raise ValueError(f"{profile!r} is no profile: it must be one of {', '.join(PROTOCOLS)}.")
    names = _known(tables)
    protocol, seeds = PROTOCOLS[profile], list(seeds)
    run = partial(finish, jobs=jobs or cpu_count(), progress=progress)
    training = [p for name in names for s in seeds for p in TABLES[name].trainings(protocol, s)]
    # Tables share networks, and some of their tasks.
    run(dict.fromkeys(training), description="training")
    pieces = [p for name in names for seed in seeds for p in TABLES[name].pieces(protocol, seed)]
    run(dict.fromkeys(pieces), description="measuring")
    return over_seeds(row for seed in seeds for row in rows_of_seed(profile, seed, names))


def _known(tables: Collection[str] | None) -> list[str]:
    unknown = [name for name in tables or () if name not in TABLES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no table: it must be one of {', '.join(TABLES)}.")
    return [name for name in TABLES if tables is None or name in tables]


def rows_of_seed(profile: str, seed: int, tables: Iterable[str]) -> list[Row]:
    """Return every row of some tables that one seed measures at a profile."""
    protocol = PROTOCOLS[profile]
    dataset = load(protocol.training.dataset, splits="as_published")
    return [
        cell.as_row(PAPER, name, profile, dataset, seed, str(device()))
        for name in tables
        for cell in TABLES[name].cells(protocol, seed)
    ]
