"""Comparisons between networks: how many are won, and what is settled while some are missing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from robustnb import results
from robustnb.verdicts import Answer, Measured, NotMeasured, Quantity, Undecided

PAPER = "noise-optimization"
printed = partial(results.printed, PAPER)
ANSWERS: tuple[Answer, ...] = ("does not hold", "holds in part", "holds")

# The table, the network without noise and the one with noise.
Architecture = tuple[str, str, str]
Cells = Callable[[str, str, str], Quantity]  # by table, row and column


@dataclass(frozen=True)
class Count:
    """How many of `total` comparisons were won, and why the others are open."""

    won: int
    total: int
    missing: tuple[NotMeasured, ...] = ()

    def __str__(self) -> str:
        """Say how many were won, of those that were measured."""
        of = f"{self.won} of {self.total - len(self.missing)}"
        return of + (f" ({len(self.missing)} more open)" if self.missing else "")


def count_won(measured: Cells, cells: Iterable[tuple[str, str, str, str]]) -> Count:
    """Count the cells (table, base, better, column) where the second network is the better."""
    found: list[bool] = []
    missing: list[NotMeasured] = []
    for table, base, better, column in cells:
        try:
            found.append(is_better(measured(table, better, column), measured(table, base, column)))
        except NotMeasured as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return Count(sum(found), len(found) + len(missing), tuple(missing))


def is_better(one: Quantity, other: Quantity) -> bool:
    """Tell whether the mean difference exceeds its spread over seeds."""
    difference = one - other
    return difference.mean > (difference.spread or 0)


def gain(measured: Measured, architecture: Architecture, column: str) -> Quantity:
    """Return by how much the second network is above the first, seed by seed."""
    table, base, better = architecture
    return measured(table, better, column) - measured(table, base, column)


def lacks(count: Count, architecture: Architecture) -> bool:
    """Tell whether a network of this architecture is among what is missing."""
    return any(name in str(missing) for missing in count.missing for name in architecture[1:])


def settled(*counts: Count) -> Answer:
    """Return the worst of the answers, unless what is missing could change it."""
    least, most = (
        min(ANSWERS.index(answer_for(least_and_most(count)[end], count.total)) for count in counts)
        for end in (0, 1)
    )
    if least != most:
        raise unsettled(*counts)
    return ANSWERS[least]


def least_and_most(count: Count) -> tuple[int, int]:
    """Return how many are won if all that is missing is lost, and if it is won."""
    return count.won, count.won + len(count.missing)


def unsettled(*counts: Count) -> NotMeasured:
    """Return the error that names the first missing cell and counts the others."""
    missing = [error for count in counts for error in count.missing]
    rest = len(missing) - 1
    others = f" And {rest} more, which could change the answer." if rest else ""
    kind = Undecided if all(isinstance(error, Undecided) for error in missing) else NotMeasured
    return kind(f"{missing[0]}{others}")


def answer_for(won: int, total: int) -> Answer:
    """Hold if all are won, in part from half of them on."""
    if won == total:
        return "holds"
    return "holds in part" if won and 2 * won >= total else "does not hold"


def printed_gain(architecture: Architecture, column: str) -> float:
    """Return by how much the second network is above the first in the paper."""
    table, base, better = architecture
    return printed(table, better, column) - printed(table, base, column)
