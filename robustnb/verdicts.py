"""What became of a paper's claims: decided from rows and rules, by code, with the intervals."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from robustnb import results
from robustnb.deciding import Answer, Found, decide
from robustnb.intervals import Share
from robustnb.quantities import Cases, NotMeasured, Quantity, Undecided
from robustnb.results import BOOK, Row
from robustnb.rules import rule

OPEN: tuple[Answer, ...] = ("undecided", "not run")  # what more work may decide
_WHOLE = {"%": 100.0, "accuracy in [0,1]": 1.0}  # the units in which a cell is a share of images


@dataclass(frozen=True)
class Verdict:
    """What became of one claim: the answer, why, the numbers it rests on, and its rule."""

    id: str
    claim: str
    published: str
    answer: Answer
    reason: str
    numbers: dict[str, float] = field(default_factory=dict)
    rule: str = ""
    history: str = ""


class Measured:
    """The cells of one paper, looked up by table, row and column: measured, and as printed."""

    def __init__(self, paper: str, rows: Sequence[Row], folder: Path = BOOK) -> None:
        """Merge the rows of one profile over seeds.

        An average over only some of the published sets decides nothing about them all. Raises
        ValueError for rows of several profiles, and where a cell was measured in two ways.
        """
        self._paper, self.folder, self._learned = paper, folder, 0.0
        self.profile = _profile(rows)
        whole = (row for row in rows if not results.is_partial(row, folder))
        self._cells = results.one_per_cell(whole)

    def needing(self, learned: float) -> "Measured":
        """Return the same, where a network needs a share of its printed clean accuracy."""
        other = copy(self)
        other._learned = learned
        return other

    def __call__(self, table: str, row: str, column: str, whole: float | None = None) -> Quantity:
        """Return the quantity of a cell; raises NotMeasured where it has no row.

        With `whole`, it is a share of images out of this whole although its unit does not say so.
        """
        if (table, row, column) not in self._cells:
            raise NotMeasured(f"Not measured yet: table {table}, {row}, {column}.")
        cell = self._cells[table, row, column]
        return Quantity(dict(zip(cell["seeds"], cell["values"], strict=True)), _shares(cell, whole))

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

    def doubt(self, table: str, row: str, column: str) -> str:
        """Say so where the clean accuracy in a cell is too far below the printed one."""
        clean, printed = self(table, row, column).mean, self.printed(table, row, column)
        if clean >= self._learned * printed:
            return ""
        return (
            f"{row} has learned too little to be judged: its clean accuracy is {clean:.3g}, where "
            f"{self._learned:.3g} times the printed {printed:.3g} is needed"
        )


@dataclass(frozen=True)
class Claim:
    """A claim of a paper: its id in `published/claims.csv`, and what finds its contrasts."""

    id: str
    find: Callable[[Measured], Found]

    def __call__(self, rows: Sequence[Row], folder: Path = BOOK) -> Verdict:
        """Return the verdict from rows of one profile."""
        return self.judge(Measured(self._line(folder)["paper"], rows, folder))

    def judge(self, measured: Measured) -> Verdict:
        """Return the verdict from what was measured at one profile.

        A reason found at another profile than "paper" says so. A cell that is missing makes the
        claim "not run"; one that tells nothing, or too small a scale, "undecided".
        """
        line, known = self._line(measured.folder), rule(self.id, measured.folder)
        profile = measured.profile
        numbers: dict[str, float] = {}
        answer: Answer
        try:
            found = self.find(measured.needing(known.learned))
        except Undecided as why:
            answer, reason = "undecided", f"{why}."
        except NotMeasured as missing:
            answer, reason, profile = "not run", str(missing), "paper"
        else:
            answer, reason = decide(found, known, profile)
            reason = f"{reason} {found.told}".rstrip()
            numbers = _numbers(found.contrasts)
        where = "" if profile == "paper" else f"At profile {profile}. "
        return Verdict(
            self.id,
            line["claim"],
            line["published figure"],
            answer,
            where + reason[0].upper() + reason[1:],
            numbers,
            str(known),
            known.history,
        )

    def _line(self, folder: Path) -> dict[str, str]:
        return next(line for line in results.claims(folder=folder) if line["id"] == self.id)


def claim(identifier: str) -> Callable[[Callable[[Measured], Found]], Claim]:
    """Make a function of measured cells into the claim with this id."""
    return partial(Claim, identifier)


def _numbers(contrasts: Mapping[str, Quantity | Cases]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, contrast in contrasts.items():
        several = {name: contrast} if isinstance(contrast, Quantity) else contrast
        numbers |= {key: each.mean for key, each in several.items() if isinstance(each, Quantity)}
    return numbers


def most_thorough(by_profile: Sequence[Sequence[Verdict]]) -> list[Verdict]:
    """Return for each claim the first verdict that was run, from the most thorough profile on.

    Rows of a lesser profile never outvote those of a more thorough one.
    """
    return [
        next((verdict for verdict in found if verdict.answer != "not run"), found[0])
        for found in zip(*by_profile, strict=True)
    ]


def _shares(cell: Row, whole: float | None) -> tuple[Share, ...] | None:
    """Return a cell as the share of images that it is, if it is one."""
    whole = whole or _WHOLE.get(cell["unit"])
    if whole is None or not 0 <= cell["value"] <= whole or cell["num_images"] < 1:
        return None
    place = f"{cell['table']}, {cell['row']}, {cell['column']}"
    return (Share(place, whole, cell["value"] / whole, cell["num_images"]),)


def _profile(rows: Sequence[Row]) -> str:
    profiles = sorted({row["profile"] for row in rows})
    if len(profiles) > 1:
        raise ValueError(f"A verdict needs rows of one profile, not of {' and '.join(profiles)}.")
    return profiles[0] if profiles else "paper"
