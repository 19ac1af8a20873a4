"""What became of a paper's claims: decided from rows, by code, with a reason in one sentence."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from robustnb import results
from robustnb.results import BOOK, Row

Answer = Literal["holds", "holds in part", "does not hold", "undecided", "not run"]
OPEN: tuple[Answer, ...] = ("undecided", "not run")  # what more work may decide


@dataclass(frozen=True)
class Verdict:
    """What became of one claim: the answer, why, the numbers it rests on, and what decides it."""

    id: str
    claim: str
    published: str
    answer: Answer
    reason: str
    numbers: dict[str, float] = field(default_factory=dict)
    decided_by: str = ""


class Finding(NamedTuple):
    """What a claim's own function returns; `reason` is a sentence that starts in lower case."""

    answer: Answer
    reason: str
    numbers: dict[str, float]


class NotMeasured(LookupError):
    """A claim rests on a cell that has no row yet; the message names the cell."""


class Undecided(NotMeasured):
    """A claim rests on a cell that tells nothing; the message says why."""


@dataclass(frozen=True)
class Quantity:
    """A measured number with its value for each seed; a difference pairs the seeds."""

    by_seed: dict[int, float]

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return statistics.fmean(self.by_seed.values())

    @property
    def spread(self) -> float | None:
        """Return the sample standard deviation over seeds, None for a single seed."""
        values = list(self.by_seed.values())
        return statistics.stdev(values) if len(values) > 1 else None

    def __sub__(self, other: "Quantity") -> "Quantity":
        """Subtract seed by seed; raises NotMeasured where the two share no seed."""
        both = self.by_seed.keys() & other.by_seed.keys()
        if not both:
            raise NotMeasured("Not measured yet with the same seed on both sides.")
        return Quantity({seed: self.by_seed[seed] - other.by_seed[seed] for seed in sorted(both)})

    def __str__(self) -> str:
        """Return the mean, and the spread where there is one, to two decimals."""
        return f"{self.mean:.2f}" + ("" if self.spread is None else f" ± {self.spread:.2f}")


class Measured:
    """The cells of one paper, looked up by table, row and column: measured, and as printed."""

    def __init__(self, paper: str, rows: Sequence[Row], folder: Path = BOOK) -> None:
        """Merge rows of one profile over seeds.

        An average over only some of the published sets decides nothing about them all. Raises
        ValueError for several profiles, and where a cell was measured in two ways.
        """
        self._paper, self.folder, self.profile = paper, folder, _profile(rows)
        whole = (row for row in rows if not results.is_partial(row, folder))
        self._cells = results.one_per_cell(whole)

    def __call__(self, table: str, row: str, column: str) -> Quantity:
        """Return the quantity of a cell; raises NotMeasured where it has no row."""
        if (table, row, column) not in self._cells:
            raise NotMeasured(f"Not measured yet: table {table}, {row}, {column}.")
        cell = self._cells[table, row, column]
        return Quantity(dict(zip(cell["seeds"], cell["values"], strict=True)))

    def rows_of(self, table: str) -> list[str]:
        """Return the names of the measured rows of a table."""
        return list(dict.fromkeys(row for name, row, _ in self._cells if name == table))

    def printed(self, table: str, row: str, column: str) -> float:
        """Return the number that the paper printed in a cell."""
        return results.printed(self._paper, table, row, column, self.folder)

    def printed_rows(self, table: str) -> list[str]:
        """Return the names of the rows that the paper printed in a table."""
        cells = results.published(self._paper, table, self.folder)
        return list(dict.fromkeys(cell["row"] for cell in cells))


@dataclass(frozen=True)
class Claim:
    """A claim of a paper: its id in `published/claims.csv`, and what decides it from cells."""

    id: str
    decide: Callable[[Measured], Finding]

    def __call__(self, rows: Sequence[Row], folder: Path = BOOK) -> Verdict:
        """Return the verdict from rows of one profile."""
        return self.judge(Measured(self._line(folder)["paper"], rows, folder))

    def judge(self, measured: Measured) -> Verdict:
        """Return the verdict from the measured cells of its paper.

        A reason found at another profile than "paper" says so. A cell that is missing makes the
        claim "not run", and one that tells nothing "undecided".
        """
        line, profile = self._line(measured.folder), measured.profile
        try:
            found = self.decide(measured)
        except Undecided as why:
            found = Finding("undecided", str(why), {})
        except NotMeasured as missing:
            profile, found = "paper", Finding("not run", str(missing), {})
        where = "" if profile == "paper" else f"at profile {profile}, "
        return Verdict(
            *(self.id, line["claim"], line["published figure"]),
            found.answer,
            _sentence(where + found.reason),
            found.numbers,
            line["what decides it"],
        )

    def _line(self, folder: Path) -> dict[str, str]:
        return next(line for line in results.claims(folder=folder) if line["id"] == self.id)


def claim(identifier: str) -> Callable[[Callable[[Measured], Finding]], Claim]:
    """Make a function of measured cells into the claim with this id."""
    return partial(Claim, identifier)


def graded(*conditions: bool) -> Answer:
    """Hold if all conditions do, and in part if any does."""
    if all(conditions):
        return "holds"
    return "holds in part" if any(conditions) else "does not hold"


def most_decided(by_profile: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    """Return for each claim the first verdict that decides it, from the most thorough profile on.

    A claim that none decides is undecided where it was measured, and not run if it was nowhere.
    """
    # min takes the first of several, which is the most thorough.
    return [min(found, key=_openness) for found in zip(*by_profile, strict=True)]


def _openness(verdict: Verdict) -> int:
    return 1 + OPEN.index(verdict.answer) if verdict.answer in OPEN else 0


def _profile(rows: Sequence[Row]) -> str:
    profiles = sorted({row["profile"] for row in rows})
    if len(profiles) > 1:
        raise ValueError(f"A verdict needs rows of one profile, not of {' and '.join(profiles)}.")
    return profiles[0] if profiles else "paper"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
