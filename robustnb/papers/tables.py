"""Tables as data: what each is computed from, the cells that come of it, and their rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from joblib import cpu_count

from robustnb.devices import device
from robustnb.papers.images import loaded
from robustnb.papers.pieces import computed, finish, pieces_in, resolved
from robustnb.results import BOOK, Row, make_row, over_seeds


@dataclass(frozen=True)
class Cell:
    """One number of a table: where it stands, its value in `unit`, and what it was measured on.

    `settings` are the fields of model, training and attack that it depends on; an average names the
    rows that it is over as `sets`.
    """

    row: str
    column: str
    value: float
    unit: str
    dataset: str
    num_images: int
    settings: Mapping[str, Any] = field(default_factory=dict)


# A part of a table: pieces, in any nesting of tuples, lists and dicts, and what makes cells of
# their results in the same nesting.
Part = tuple[Any, Callable[[Any], Iterable[Cell]]]


class HasProfile(Protocol):
    """A protocol of a paper: what is trained, attacked and measured at one of the profiles."""

    @property
    def profile(self) -> str:
        """Return the name of the profile."""


# From a protocol and a seed, the parts of a table; none where the protocol does not measure it.
Table = Callable[[Any, int], Iterable[Part]]


def measure_tables(
    paper: str,
    known: Mapping[str, Table],
    protocol: HasProfile,
    seeds: Iterable[int] = (0,),
    tables: Iterable[str] | None = None,
    *,
    jobs: int | None = None,
    progress: bool = True,
    folder: Path = BOOK,
) -> list[Row]:
    """Compute what is missing of a protocol's tables; return their rows, averaged over seeds.

    All tables, unless some are named. Runs `jobs` processes side by side (all cores unless given).
    What was computed before, also by a run that was killed, is read from the disk. Raises
    ValueError for a table that the protocol does not have.
    """
    parts = _parts(known, protocol, list(seeds), None if tables is None else list(tables))
    pieces = [piece for _, _, (needed, _) in parts for piece in pieces_in(needed)]
    finish(pieces, jobs=jobs or cpu_count(), progress=progress)
    return over_seeds(
        row
        for table, seed, part in parts
        for row in _rows(paper, table, protocol.profile, seed, part, folder)
    )


def _parts(
    known: Mapping[str, Table], protocol: HasProfile, seeds: Sequence[int], tables: list[str] | None
) -> list[tuple[str, int, Part]]:
    """Return table, seed and part of all that is to be measured, seed by seed."""

    def parts(name: str) -> list[tuple[int, Part]]:
        return [(seed, part) for seed in seeds for part in known[name](protocol, seed)]

    wanted = {name: parts(name) for name in known if tables is None or name in tables}
    for name in tables or ():
        if not wanted.get(name):
            raise ValueError(
                f"{name!r} is no table at profile {protocol.profile}: "
                f"accepted are {', '.join(filter(parts, known))}."
            )
    return [(name, s, part) for s in seeds for name in wanted for n, part in wanted[name] if n == s]


def _rows(
    paper: str, table: str, profile: str, seed: int, part: Part, folder: Path
) -> Iterator[Row]:
    pieces, cells = part
    found = {piece: computed(piece) for piece in pieces_in(pieces)}
    for cell in cells(resolved(pieces, lambda piece: found[piece].value)):
        dataset = loaded(cell.dataset, "held_out")
        yield make_row(
            *(paper, table, cell.row, cell.column, cell.value),
            unit=cell.unit,
            seed=seed,
            num_images=cell.num_images,
            profile=profile,
            settings=cell.settings,
            dataset=dataset.name,
            digest=dataset.digest,
            seconds=sum(each.seconds for each in found.values()),
            device=str(device()),
            folder=folder,
        )
