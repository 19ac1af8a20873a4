"""Tables 1 to 4 of Zhang & Chen (2020): Bayesian weight sampling against transferred attacks."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from joblib import cpu_count

from robustnb.attacks.gradient import PGD
from robustnb.attacks.minimal import MinimumNorm
from robustnb.data import load
from robustnb.experiments import bayesian_weight_sampling_choices as choices
from robustnb.experiments import bayesian_weight_sampling_controls as controls
from robustnb.experiments import bayesian_weight_sampling_kinship as kinship
from robustnb.experiments import bayesian_weight_sampling_worst_case as worst
from robustnb.experiments.bayesian_weight_sampling_pieces import (
    DEFENDER,
    TABLE_RHO_INIT,
    Evaluated,
    Protocol,
    Training,
    bayesian_column,
    bayesian_piece,
    evaluated,
    evaluated_pieces,
    perturbation_set,
    perturbed_piece,
    plain_piece,
    pruned_column,
    standard_column,
    white_box_pieces,
)
from robustnb.experiments.pieces import Piece, finish, result
from robustnb.results import Row, make_row, over_seeds

PAPER = "bayesian-weight-sampling"

PROTOCOLS = {
    "smoke": Protocol(
        plain=Training("digits", lr=1e-2, batch_size=32, epochs=25, patience=25),
        bayesian=Training("digits", lr=1e-4, batch_size=64, epochs=25, patience=25),
        lambdas=("0",),
        sources=("FC-10", "FC-200-200-10"),
        num_images=300,
        white_box=PGD(eps=0.05, alpha=0.02, steps=10),
        eot_samples=(1, 10),
        num_attacked=200,
    ),
    "laptop": Protocol(
        plain=Training("mnist", lr=1e-3, epochs=12),
        bayesian=Training("mnist", lr=1e-4, epochs=12),
        lambdas=("0", "1e-2"),
        sources=("FC-10", "FC-200-200-10"),
        num_images=2_000,
        eot_samples=(1, 10),
        num_attacked=500,
    ),
    "paper": Protocol(),
}


@dataclass(frozen=True)
class Cell:
    """One number of a table: where it stands, its value in `unit`, and what it was measured on.

    The images are those of `split`, changed by `attack` unless that is None; `size` is the number
    of weight draws in an ensemble. `settings` and `num_images` stand in for the protocol's.
    """

    row: str
    column: str
    value: float
    seconds: float
    size: int = 1
    split: str = "test"
    attack: MinimumNorm | PGD | None = None
    unit: str = "%"
    settings: Mapping[str, Any] | None = None
    num_images: int | None = None


def table_1(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the clean accuracy of every network (Table 1)."""
    for column in _networks(protocol):
        yield from _clean(evaluated(protocol, column, seed), column)


def table_2(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the accuracy of every network on each perturbation set and on average (Table 2)."""
    for column in _networks(protocol):
        yield from _transferred(protocol, evaluated(protocol, column, seed), column)


def table_3(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the accuracy of ensembles of weight draws on each perturbation set (Table 3)."""
    found = evaluated(protocol, bayesian_column(TABLE_RHO_INIT), seed)
    for size in protocol.ensembles:
        yield from _transferred(protocol, found, f"ensemble N={size}", size)


def table_4(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the accuracy of pruned ensembles, clean and perturbed (Table 4)."""
    size = max(protocol.ensembles)
    for column in map(pruned_column, protocol.pruned):
        found = evaluated(protocol, column, seed)
        yield from _clean(found, column, size, "original ")
        yield from _transferred(protocol, found, column, size)


def unpruned(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the clean accuracy of the unpruned ensemble, which the paper does not print."""
    found, size = (
        evaluated(protocol, bayesian_column(TABLE_RHO_INIT), seed),
        max(protocol.ensembles),
    )
    yield from _clean(found, f"ensemble N={size}", size, "original ")


def white_box(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield accuracies under PGD on the network itself, for one weight draw and for ensembles."""
    most = max(protocol.ensembles)
    for (column, eot_samples), piece in white_box_pieces(protocol, seed).items():
        found: Evaluated = result(piece)
        attack = replace(protocol.white_box, eot_samples=eot_samples)
        scores, row = found.accuracies["white-box"], f"PGD EOT={eot_samples}"
        rows = {1: row} | ({most: f"{row}, ensemble N={most}"} if most in scores else {})
        for size, name in rows.items():
            yield Cell(name, column, 100 * scores[size], found.seconds, size, attack=attack)


def distortions(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the size of each set's perturbations, and the accuracy of the network they fool."""
    for name in protocol.sets:
        made = perturbation_set(protocol, name, seed)
        cell = partial(Cell, name, seconds=made.seconds, attack=protocol.attack)
        yield cell("mean distortion", made.distortion, unit="")
        yield cell("accuracy", 100 * made.accuracy)


def without_diversity(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the controls on the paper's sets: plain networks, and mean weights at test time."""
    for name, piece in controls.control_pieces(protocol, seed).items():
        yield from _averaged(protocol, result(piece), name, controls.settings(protocol, name))


def matched_targets(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield every network on sets made against networks that take the variational step."""
    same = controls.matched(protocol)
    for name, piece in controls.matched_pieces(protocol, seed).items():
        settings = controls.settings(protocol, name) | {"attacked": asdict(same.plain)}
        yield from _averaged(same, result(piece), name, settings)


def attack_step(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield the averages of Table 2 for attacks whose steps have another length."""
    for (alpha, column), piece in choices.step_pieces(protocol, seed).items():
        other, found = choices.with_step(protocol, alpha), result(piece)
        yield Cell(
            f"alpha={alpha:g}",
            column,
            _average(other, found),
            found.seconds,
            attack=other.attack,
            settings={"sets": list(other.sets), "draws": choices.NUM_SAMPLES},
            num_images=other.num_images,
        )


def other_readings(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield what other readings of the variational training give."""
    known = choices.choices(protocol)
    for name, piece in choices.choice_pieces(protocol, seed).items():
        yield from _averaged(protocol, result(piece), name, asdict(known[name]))


def other_kind(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield averages over sets made against networks that start from large weights."""
    for column, share, seconds in kinship.averages(protocol, seed):
        yield Cell(
            f"average over {len(kinship.sources(protocol))} sets",
            column,
            100 * share,
            seconds,
            attack=protocol.attack,
            settings={"initialisation": "variational", "sets": list(kinship.sources(protocol))},
        )


def worst_case(protocol: Protocol, seed: int) -> Iterator[Cell]:
    """Yield accuracies under several attacks on the network itself, and under the worst of them."""
    for row, column, share, seconds in worst.shares(protocol, seed):
        yield Cell(
            *(row, column, 100 * share, seconds),
            settings=worst.settings(protocol, row),
            num_images=worst.num_images(protocol),
        )


TABLES = {
    "1": table_1,
    "2": table_2,
    "3": table_3,
    "4": table_4,
    "unpruned": unpruned,
    "white-box": white_box,
    "distortion": distortions,
    "controls": without_diversity,
    "matched targets": matched_targets,
    "attack step": attack_step,
    "choices": other_readings,
    "other kind": other_kind,
    "worst case": worst_case,
}


def _networks(protocol: Protocol) -> list[str]:
    bayesian = [bayesian_column(rho_init) for rho_init in protocol.rho_inits]
    return bayesian + [standard_column(strength) for strength in protocol.lambdas]


def _clean(found: Evaluated, column: str, size: int = 1, prefix: str = "") -> Iterator[Cell]:
    for split in ("validation", "test"):
        share = found.accuracies[split][size]
        yield Cell(f"{prefix}{split}", column, 100 * share, found.seconds, size, split)


def _averaged(
    protocol: Protocol, found: Evaluated, name: str, settings: Mapping[str, Any]
) -> Iterator[Cell]:
    """Yield clean accuracy, and the average over the sets with their number in its name."""
    sets, cell = list(protocol.sets), partial(Cell, name, seconds=found.seconds)
    yield cell("test", value=100 * found.accuracies["test"][1], settings=settings)
    yield cell(
        f"average over {len(sets)} sets",
        value=_average(protocol, found),
        attack=protocol.attack,
        settings={**settings, "sets": sets},
    )


def _average(protocol: Protocol, found: Evaluated) -> float:
    """Return the accuracy of single draws in percent, averaged over the perturbation sets."""
    return 100 * fmean(found.accuracies[name][1] for name in protocol.sets)


def _transferred(
    protocol: Protocol, found: Evaluated, column: str, size: int = 1
) -> Iterator[Cell]:
    shares = {name: found.accuracies[name][size] for name in protocol.sets}
    for name, share in (shares | {"average": fmean(shares.values())}).items():
        yield Cell(name, column, 100 * share, found.seconds, size, attack=protocol.attack)


def rows_of_seed(profile: str, seed: int, tables: Iterable[str]) -> list[Row]:
    """Return every row of some tables that one seed measures at a profile."""
    protocol = PROTOCOLS[profile]
    dataset = load(protocol.dataset)
    return [
        make_row(
            *(PAPER, table, cell.row, cell.column, cell.value),
            unit=cell.unit,
            seed=seed,
            num_images=_num_images(protocol, cell, len(dataset.splits[cell.split])),
            profile=profile,
            settings=_settings(protocol, table, cell),
            dataset=dataset.name,
            digest=dataset.digest,
            seconds=cell.seconds,
        )
        for table in tables
        for cell in TABLES[table](protocol, seed)
    ]


def _num_images(protocol: Protocol, cell: Cell, available: int) -> int:
    if cell.num_images is not None:
        return cell.num_images
    if cell.attack is None:
        return available
    transferred = isinstance(cell.attack, MinimumNorm)
    return min(available, protocol.num_images if transferred else protocol.num_attacked)


def _settings(protocol: Protocol, table: str, cell: Cell) -> dict[str, Any]:
    """Return what a cell's value depends on, beside what the names of its row and column say."""
    settings: dict[str, Any] = {}
    if cell.attack is not None:
        settings["attack"] = asdict(cell.attack)
    if isinstance(cell.attack, MinimumNorm):
        settings["attacked"] = asdict(protocol.plain)
    if cell.settings is not None:
        return settings | dict(cell.settings)
    if cell.row == "average":
        settings["sets"] = list(protocol.sets)
    if cell.column.startswith("standard"):
        settings["training"] = asdict(protocol.plain)
    elif table != "distortion":
        draws = {"draws": max(protocol.ensembles), "ensemble": cell.size}
        settings |= {"training": asdict(protocol.bayesian)} | draws
    return settings


def measure(
    profile: str,
    seeds: Iterable[int] = (0,),
    tables: Collection[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
) -> list[Row]:
    """Compute what is missing of a profile and return its rows, averaged over seeds.

    Runs `jobs` processes side by side (all cores unless given). What was computed before, also by a
    run that was killed, is read from the disk. With `tables`, these alone are measured, and what
    they need is computed by this process, piece after piece.
    """
    if profile not in PROTOCOLS:
        raise ValueError(f"{profile!r} is no profile: it must be one of {', '.join(PROTOCOLS)}.")
    for name in tables or ():
        if name not in TABLES:
            raise ValueError(f"{name!r} is no table: it must be one of {', '.join(TABLES)}.")
    seeds, run = list(seeds), partial(finish, jobs=jobs or cpu_count(), progress=progress)
    for description, stage in STAGES.items() if tables is None else ():
        pieces = [piece for seed in seeds for piece in stage(PROTOCOLS[profile], seed)]
        run(pieces, description=description)
    chosen = list(TABLES) if tables is None else list(tables)
    return over_seeds([row for seed in seeds for row in rows_of_seed(profile, seed, chosen)])


def _training(protocol: Protocol, seed: int) -> Iterator[Piece]:
    networks = [*protocol.sets.values(), *((DEFENDER, strength) for strength in protocol.lambdas)]
    for network in networks:
        yield plain_piece(protocol.plain, *network, seed)
    for rho_init in protocol.rho_inits:
        yield bayesian_piece(protocol, rho_init, seed)
    yield from controls.trained_pieces(protocol, seed)
    yield from choices.trained_pieces(protocol, seed)
    yield from kinship.trained_pieces(protocol, seed)


def _attack(protocol: Protocol, seed: int) -> Iterator[Piece]:
    for name in protocol.sets:
        yield perturbed_piece(protocol, name, seed)
    yield from controls.perturbed_pieces(protocol, seed)
    yield from choices.perturbed_pieces(protocol, seed)
    yield from kinship.perturbed_pieces(protocol, seed).values()


def _measuring(protocol: Protocol, seed: int) -> Iterator[Piece]:
    for pieces in (evaluated_pieces, controls.control_pieces, controls.matched_pieces):
        yield from pieces(protocol, seed).values()
    yield from choices.choice_pieces(protocol, seed).values()
    yield from choices.step_pieces(protocol, seed).values()
    yield from white_box_pieces(protocol, seed).values()
    yield from kinship.evaluated_pieces(protocol, seed).values()
    yield from worst.attacked_pieces(protocol, seed).values()


# Each stage needs the results of the one before.
STAGES = {"training": _training, "attack": _attack, "measuring": _measuring}
