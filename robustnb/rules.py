"""The rules that decide claims, with their history: `book/published/rules.csv`.

A rule was written from the paper's words. A line is a condition of a claim's rule; lines that have
an `until` are older rules, in words, with what they `said` of the rows of the day they ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from robustnb import results
from robustnb.intervals import Region
from robustnb.results import BOOK

_AGE = {
    "no": "older than its rows",
    "with its first rows": "written with its first rows",
    "yes": "younger than its rows",
}
Over = Literal["seeds", "range"]


@dataclass(frozen=True)
class Condition:
    """What a contrast must be for a claim to hold, and for it to hold in part.

    With `each`, the contrast has several cases, each of which lies in that region or does not; the
    other two regions are then about the share of them that does.
    """

    name: str
    contrast: str
    unit: str
    cases: str
    each: Region | None
    holds: Region
    in_part: Region

    @property
    def unit_text(self) -> str:
        """Return the unit as it stands after a number."""
        return self.unit if self.unit in ("", "%") else f" {self.unit}"

    def __str__(self) -> str:
        """Say the condition."""
        if self.each is None:
            told = f"{self.contrast} is {self.holds.words}{self.unit_text}"
            part = self.in_part.words
        else:
            told = f"{self.contrast} is {self.each.words}{self.unit_text} in "
            told += "all" if self.holds.words == "all" else f"{self.holds.words} of the"
            told, part = f"{told} {self.cases}", f"in {self.in_part.words} of them"
        if self.in_part == self.holds:
            return told
        return f"{told} (in part: {'any' if self.in_part.words == 'anything' else part})"


@dataclass(frozen=True)
class Rule:
    """When a claim holds: its conditions, over what its intervals are, and at which scale."""

    conditions: tuple[Condition, ...]
    over: Over  # Student's interval, or the range over the seeds
    seeds: int  # the fewest that it takes; for one, the interval is over images
    profile: str  # the least that it takes
    learned: float  # the least clean accuracy of a network, as a share of the printed one
    since: str
    rows_known: str
    changed: str
    older: tuple[dict[str, str], ...]

    def __str__(self) -> str:
        """Say the rule in one line."""
        told = ", and where ".join(map(str, self.conditions))
        return f"It holds where {told}. {_intervals(self)}."

    @property
    def history(self) -> str:
        """Say whether the rule is older than its rows, and what the rules before it said."""
        told = f"The rule is of {self.since}, {_AGE[self.rows_known]}: {self.changed}."
        older = [
            f"The rule of {line['since']}, {_AGE[line['rows known']]}, said of the same rows: "
            f"{line['said']}."
            for line in self.older
        ]
        return " ".join([told, *older])


def rule(identifier: str, folder: Path = BOOK) -> Rule:
    """Return the rule in force for a claim; raises LookupError for a claim that has none."""
    lines = [line for line in _lines(folder) if line["id"] == identifier]
    now = [line for line in lines if not line["until"]]
    if not now:
        raise LookupError(
            f"The claim {identifier} has no rule in {folder / 'published/rules.csv'}."
        )
    first = now[0]
    results.check_name("profile", first["least profile"], results.PROFILES)
    return Rule(
        tuple(map(_condition, now)),
        _over(first["interval"]),
        int(first["fewest seeds"]),
        first["least profile"],
        float(first["least clean"] or 0),
        first["since"],
        first["rows known"],
        first["changed"],
        tuple(line for line in lines if line["until"]),
    )


def _condition(line: dict[str, str]) -> Condition:
    holds = Region.of(line["holds"])
    return Condition(
        line["condition"],
        line["contrast"],
        line["unit"],
        line["cases"],
        Region.of(line["each"]) if line["each"] else None,
        holds,
        Region.of(line["in part"]) if line["in part"] else holds,
    )


def _over(name: str) -> Over:
    kinds: Sequence[Over] = ("seeds", "range")
    results.check_name("interval", name, kinds)
    return next(kind for kind in kinds if kind == name)


def _intervals(rule: Rule) -> str:
    least = f"{rule.seeds} seeds or more" if rule.seeds > 1 else "seeds, for one seed over images"
    kind = "The range over all seeds" if rule.over == "range" else f"95% intervals over {least}"
    clean = f"; networks need {100 * rule.learned:g}% of their printed clean accuracy"
    told = f"{kind}; profile {rule.profile}{' or paper' if rule.profile != 'paper' else ''}"
    return told + (clean if rule.learned else "")


@cache
def _lines(folder: Path) -> tuple[dict[str, str], ...]:
    return tuple(results.read_csv(folder / "published" / "rules.csv"))
