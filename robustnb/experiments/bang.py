"""Tables 1 and 2 of Rozsa, Günther & Boult (2016), and what an attacker finds who knows BANG."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from joblib import cpu_count

from robustnb.data import load
from robustnb.experiments import bang_attacks as strong
from robustnb.experiments import bang_tables as searches
from robustnb.experiments.bang_tables import OTHER, PLAIN, Study, Table
from robustnb.experiments.bang_training import Network, Training, network_piece
from robustnb.experiments.pieces import Piece, finish, result
from robustnb.results import Row, over_seeds

PAPER = "bang"

LENETS = (
    PLAIN,
    OTHER,
    Network("B0", 1.00, 0.785),
    Network("B1", 1.00, 0.815),
    Network("B2", 1.20, 0.810),
    Network("B3", 1.35, 0.780),
    Network("B4", 1.50, 0.840),
    Network("B5", 1.60, 0.780),
)
CIFAR_NETWORKS = (
    PLAIN,
    OTHER,
    Network("B0", 0.40, 0.855),
    Network("B1", 0.45, 0.805),
    Network("B2", 0.75, 0.800),
    Network("B3", 0.75, 0.845),
    Network("B4", 0.95, 0.840),
    Network("B5", 1.00, 0.800),
)
MNIST_TRAINING = Training(
    "mnist",
    "LeNet",
    iterations=10_000,
    batch_size=64,
    lr=0.01,
    weight_decay=5e-4,
    decay="inverse",
    misclassified=1.0,
    stages=(500, 1_000, 2_000, 5_000, 10_000),
    every=500,
)
CIFAR_TRAINING = Training(
    "cifar10",
    "CIFAR-10 quick",
    iterations=20_000,
    batch_size=100,
    lr=0.001,
    weight_decay=4e-3,
    decay="steps",
    misclassified=0.5,
    stages=(1_000, 2_000, 5_000, 10_000, 20_000),
    every=100,
)


def coarse(betas: Iterable[float], epsilons: Iterable[float]) -> tuple[Network, ...]:
    """Return a grid of networks with every beta and every eps."""
    return tuple(Network("grid", beta, eps) for beta, eps in product(betas, epsilons))


@dataclass(frozen=True)
class Protocol:
    """Say what is done on MNIST (or in its place) and on CIFAR-10, None for nothing there."""

    mnist: Study
    cifar10: Study | None = None

    @property
    def studies(self) -> dict[str, Study]:
        """Return the studies by the number of the table that they fill."""
        return {"1": self.mnist} | ({} if self.cifar10 is None else {"2": self.cifar10})


# The paper attacks all 10,000 test images, and has 1,000 noisy copies of each of its 1,000 images.
PAPER_MNIST = Study(
    MNIST_TRAINING,
    LENETS,
    LENETS[3],
    stds=(20.0, 40.0, 60.0, 80.0, 100.0),
    grid=coarse((1.0, 1.3, 1.6), (0.78, 0.81, 0.84)),
)
PAPER_CIFAR = Study(
    CIFAR_TRAINING,
    CIFAR_NETWORKS,
    CIFAR_NETWORKS[2],
    stds=(10.0, 20.0, 30.0, 40.0),
    grid=coarse((0.4, 0.7, 1.0), (0.80, 0.83, 0.86)),
    eps=(2 / 255, 4 / 255, 8 / 255),
)

PROTOCOLS = {
    "smoke": Protocol(
        replace(
            PAPER_MNIST,
            training=replace(
                MNIST_TRAINING,
                dataset="digits",
                iterations=80,
                stages=(20, 40, 60, 80),
                every=20,
            ),
            networks=(PLAIN, OTHER, LENETS[3]),
            stds=(50.0, 100.0),
            grid=(),
            num_images=30,
            num_similar=20,
            copies=2,
            per_class=10,
            num_attacked=30,
            eps=(0.2,),
            steps=10,
            restarts=1,
            queries=50,
        )
    ),
    "laptop": Protocol(
        replace(
            PAPER_MNIST,
            training=replace(
                MNIST_TRAINING, iterations=1_000, stages=(100, 200, 500, 1_000), every=100
            ),
            num_images=500,
            num_similar=100,
            copies=5,
            num_attacked=200,
            queries=500,
        ),
        replace(
            PAPER_CIFAR,
            training=replace(CIFAR_TRAINING, iterations=4_000, stages=(500, 1_000, 2_000, 4_000)),
            grid=coarse((0.4, 1.0), (0.80, 0.86)),
            num_images=500,
            num_similar=100,
            copies=5,
            per_class=20,
            num_attacked=200,
            queries=500,
        ),
    ),
    "paper": Protocol(PAPER_MNIST, PAPER_CIFAR),
}


PRINTED = Table(
    lambda study: study.networks,
    lambda study, seed: searches.printed_pieces(study.networks, study, seed),
    searches.printed_cells,
)
OWN = {
    "gradients": Table(
        lambda study: study.dissected, searches.health_pieces, searches.gradient_cells
    ),
    "fgs": Table(lambda study: study.dissected, searches.fgs_pieces, searches.fgs_cells),
    "hot-cold": Table(
        lambda study: study.dissected, searches.hot_cold_pieces, searches.hot_cold_cells
    ),
    "worst case": Table(
        lambda study: (*study.pair, OTHER), strong.worst_pieces, strong.worst_cells
    ),
    "random noise": Table(lambda study: study.pair, strong.noise_pieces, strong.noise_cells),
    "grid": Table(
        lambda study: study.grid,
        lambda study, seed: searches.printed_pieces(study.grid, study, seed),
        searches.printed_cells,
    ),
    "cost": Table(lambda study: (), strong.cost_pieces, strong.cost_cells),
}


def tables_of(protocol: Protocol) -> dict[str, tuple[Study, Table]]:
    """Return every table of a protocol by its name, with the study that it is about.

    Our own tables about CIFAR-10 say so in their names.
    """
    found: dict[str, tuple[Study, Table]] = {}
    for number, study in protocol.studies.items():
        where = "" if number == "1" else ", CIFAR-10"
        found[number] = study, PRINTED
        found |= {f"{name}{where}": (study, table) for name, table in OWN.items()}
    return found


def rows_of_seed(profile: str, seed: int, names: Iterable[str] | None = None) -> list[Row]:
    """Return every row that one seed measures at a profile, of the named tables or of all."""
    return [
        row
        for name, (study, table) in _chosen(profile, names).items()
        for row in _rows(profile, seed, name, study, table)
    ]


def _rows(profile: str, seed: int, name: str, study: Study, table: Table) -> Iterator[Row]:
    found = {key: result(piece) for key, piece in table.pieces(study, seed).items()}
    dataset = load(study.training.dataset, splits="as_published")
    for cell in table.cells(study, found):
        yield cell.as_row(PAPER, name, profile, dataset, seed)


def measure(
    profile: str,
    seeds: Iterable[int] = (0,),
    tables: Iterable[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Compute what is missing of a profile's tables and return their rows, averaged over seeds.

    Of all `tables`, unless some are named, such as "1" or "random noise, CIFAR-10". Runs `jobs`
    processes side by side (all cores unless given). What was computed before, also by a run that
    was killed, is read from the disk.
    """
    if profile not in PROTOCOLS:
        raise ValueError(f"{profile!r} is no profile: it must be one of {', '.join(PROTOCOLS)}.")
    names = None if tables is None else list(tables)
    chosen, seeds = _chosen(profile, names), list(seeds)
    run = partial(finish, jobs=jobs or cpu_count(), progress=progress)
    for description, stage in STAGES.items():
        pieces = [piece for seed in seeds for piece in stage(chosen.values(), seed)]
        run(pieces, description=description)
    return over_seeds([row for seed in seeds for row in rows_of_seed(profile, seed, names)])


def _chosen(profile: str, names: Iterable[str] | None) -> dict[str, tuple[Study, Table]]:
    known = tables_of(PROTOCOLS[profile])
    if names is None:
        return known
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no table: it must be one of {', '.join(known)}.")
    return {name: known[name] for name in names}


def _training(chosen: Iterable[tuple[Study, Table]], seed: int) -> Iterator[Piece]:
    needed = {(study.training, n): None for study, table in chosen for n in table.networks(study)}
    for training, network in needed:
        yield network_piece(training, network, seed)


def _measuring(chosen: Iterable[tuple[Study, Table]], seed: int) -> Iterator[Piece]:
    # Some pieces are in two tables.
    pieces = [piece for study, table in chosen for piece in table.pieces(study, seed).values()]
    yield from {(piece.function, piece.arguments): piece for piece in pieces}.values()


# The second stage needs the results of the first.
STAGES = {"training": _training, "measuring": _measuring}
