"""Rows made by hand, on which claims are judged."""

from typing import Any

from robustnb.results import Row, published
from robustnb.verdicts import Verdict

Key = tuple[str, str, str]  # table, row, column
Changes = dict[Key, Any]  # a number, a list of one per seed, or None


def printed(paper: str) -> Changes:
    """Return what a paper prints, by cell."""
    return {(c["table"], c["row"], c["column"]): c["value"] for c in published(paper)}


def rows_of(paper: str, cells: Changes, seeds: int, profile: str) -> list[Row]:
    """Return a row for each cell and seed; a list has a value per seed, None leaves a cell out."""
    return [
        row(paper, key, number, seed, profile)
        for key, value in cells.items()
        if value is not None
        for seed, number in enumerate(value if isinstance(value, list) else [value] * seeds)
    ]


def row(paper: str, key: Key, value: float, seed: int, profile: str) -> Row:
    """Return a row that says nothing but what was measured where."""
    empty: dict[str, Any] = {"unit": "%", "settings": {}, "versions": {}, "device": ""}
    empty |= {"num_images": 1, "dataset": "", "digest": "0", "seconds": 0.0, "spread": None}
    names = dict(zip(("table", "row", "column"), key, strict=True))
    measured = {"value": value, "values": [value], "seeds": [seed], "profile": profile}
    return {"paper": paper} | names | empty | measured


def check(verdict: Verdict, claim: str, answer: str, reason: str) -> None:
    """Fail unless a verdict on `claim` has this answer and a whole sentence with this reason."""
    assert verdict.id == claim
    assert verdict.answer == answer, verdict.reason
    assert reason.lower() in verdict.reason.lower()
    assert verdict.reason.endswith(".")
    assert verdict.reason[0].isupper()
    assert verdict.numbers


def tried_every_way(tried: set[tuple[int, str]], claims: int) -> bool:
    """Tell whether each claim holds, does not, and comes out between, among (claim, answer)."""
    found = {number: {answer for n, answer in tried if n == number} for number, _ in tried}
    return found.keys() == set(range(1, claims + 1)) and all(
        {"holds", "does not hold"} < answers for answers in found.values()
    )
