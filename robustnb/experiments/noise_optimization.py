"""Tables 3 to 6 of Xiao, Zhang & Peng (2021): noise whose level each neuron learns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from joblib import cpu_count

from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.lbfgs import BatchLBFGS
from robustnb.data import Dataset, load
from robustnb.experiments import noise_optimization_pieces as work
from robustnb.experiments import noise_optimization_published_code as code
from robustnb.experiments.cells import Cell
from robustnb.experiments.noise_optimization_pieces import Study
from robustnb.experiments.noise_optimization_tables import PRINTED, TABLES, Table
from robustnb.experiments.noise_optimization_training import DEVICE, PAPER, Training
from robustnb.experiments.pieces import Piece, finish, result
from robustnb.results import Row, over_seeds

# Tables 1 and 2. White-box attacks start at the image, as in the published code.
PAPER_S = {
    "3": Study(
        "3",
        Training("mnist", epochs=30),
        FGSM(0.1),
        BatchLBFGS(lr=0.5, steps=10),
        PGD(25 / 255, 5 / 255, steps=10, random_start=False),
    ),
    "5": Study(
        "5",
        Training("cifar10", epochs=50),
        FGSM(0.1),
        BatchLBFGS(lr=0.05, steps=20),
        PGD(8 / 255, 2 / 255, steps=5, random_start=False),
    ),
    "6": Study(
        "6",
        Training("tiny-imagenet", 80, lr=1e-2, weight_decay=5e-4, momentum=0.9, decay_every=20),
        FGSM(2 / 255),
        BatchLBFGS(lr=0.05, steps=10),
        PGD(5 / 255, 2 / 255, steps=3, random_start=False),
    ),
}
PAPER_S["4"] = replace(PAPER_S["3"], table="4")


def _smaller(table: str, training: dict[str, Any], **changes: Any) -> Study:
    study = PAPER_S[table]
    return replace(study, training=replace(study.training, **training), **changes)


FEW = {"num_images": 1_000, "num_attacked": 200, "num_worst": 100, "eot_samples": 5, "queries": 100}
FEWER = {"num_images": 500, "num_attacked": 100, "num_worst": 50, "eot_samples": 4, "queries": 50}
FEWER |= {"draws": 2}
TINY = {"num_attacked": 100, "num_worst": 40, "eot_samples": 3, "queries": 20, "draws": 5}
TINIER = {"num_images": 40, "num_attacked": 20, "num_worst": 8, "eot_samples": 2, "queries": 5}
TINIER |= {"draws": 2, "timed": 3}
DIGITS = {"dataset": "digits", "epochs": 12, "batch_size": 64, "lr": 4e-3, "sigma_lr": 1e-2}
TWENTY_CLASSES = {"dataset": "tiny-imagenet-20", "epochs": 40, "batch_size": 16, "width": 8}
PROTOCOLS = {
    "smoke": {
        "3": _smaller("3", DIGITS, **TINY, copies=4_000, timed=10),
        "4": _smaller("4", DIGITS | {"epochs": 3, "num_images": 400}, **TINIER),
    },
    "laptop": {
        "3": _smaller("3", {"epochs": 10, "num_images": 10_000}, **FEW),
        "4": _smaller("4", {"epochs": 20, "num_images": 10_000}, **FEW),
        "5": _smaller("5", {"epochs": 6, "num_images": 20_000, "width": 16}, **FEWER),
        "6": _smaller("6", TWENTY_CLASSES, **FEWER),
    },
    "paper": dict(sorted(PAPER_S.items())),
}


def rows_of_seed(profile: str, seed: int, tables: Sequence[str]) -> list[Row]:
    """Return every row that one seed measures about the networks of the paper's `tables`."""
    return [
        _row(profile, study, dataset, name, cell, seed)
        for study in _studies(profile, tables)
        for dataset in [load(study.training.dataset, splits="at_random")]
        for name, table in TABLES.items()
        for cell in table.cells(study, _results(table, study, seed))
    ]


def _results(table: Table, study: Study, seed: int) -> dict[Any, Any]:
    return {name: result(piece) for name, piece in table.pieces(study, seed).items()}


def _row(profile: str, study: Study, dataset: Dataset, table: str, cell: Cell, seed: int) -> Row:
    complete = replace(
        cell,
        num_images=min(cell.num_images, len(dataset.splits["test"])),
        settings={"training": asdict(study.training), **cell.settings},
    )
    name = study.table if table == PRINTED else table
    return complete.as_row(PAPER, name, profile, dataset, seed, str(DEVICE))


def measure(
    profile: str,
    seeds: Iterable[int] = (0,),
    tables: Sequence[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Compute what is missing of a profile and return its rows, averaged over seeds.

    `tables` are those of the paper whose networks are measured, for its own table and for ours (all
    of the profile unless given). Runs `jobs` processes side by side (all cores unless given). What
    was computed before, also by a run that was killed, is read from the disk.
    """
    studies, seeds = _studies(profile, tables), list(seeds)
    run = partial(finish, jobs=jobs or cpu_count(), progress=progress)
    for description, stage in STAGES.items():
        pieces = (piece for seed in seeds for study in studies for piece in stage(study, seed))
        run(pieces, description=description)
    names = [study.table for study in studies]
    return over_seeds([row for seed in seeds for row in rows_of_seed(profile, seed, names)])


def _studies(profile: str, tables: Sequence[str] | None) -> list[Study]:
    if profile not in PROTOCOLS:
        raise ValueError(f"{profile!r} is no profile: it must be one of {', '.join(PROTOCOLS)}.")
    known = PROTOCOLS[profile]
    for table in tables or ():
        if table not in known:
            raise ValueError(
                f"{table!r} is no table of profile {profile}: accepted are {', '.join(known)}."
            )
    return [study for table, study in known.items() if tables is None or table in tables]


def _training(study: Study, seed: int) -> Iterator[Piece]:
    for name in (*study.names, study.surrogate):
        yield work.train_piece(study, name, seed)
    yield work.train_piece(study, study.surrogate, work.stranger(seed))
    yield from code.trained_pieces(study, seed)


def _measuring(study: Study, seed: int) -> Iterator[Piece]:
    for table in TABLES.values():
        yield from table.pieces(study, seed).values()


# The second stage needs the results of the first.
STAGES = {"training": _training, "measuring": _measuring}
