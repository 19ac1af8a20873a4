"""The table of rules names every claim, and each of its lines can be read."""

import csv

import pytest

from robustnb.reproduction import verdicts
from robustnb.results import BOOK, PROFILES, claims, out_of_scope, papers
from robustnb.rules import rule

LINES = list(csv.DictReader((BOOK / "published" / "rules.csv").open(encoding="utf-8")))
IDS = [claim["id"] for claim in claims()]


def test_every_claim_has_a_rule_and_every_rule_a_claim() -> None:
    assert list(dict.fromkeys(line["id"] for line in LINES)) == sorted(
        IDS, key=[line["id"] for line in LINES].index
    )
    assert len(IDS) == len(set(IDS))


@pytest.mark.parametrize("identifier", IDS)
def test_a_rule_says_what_holds_and_what_became_of_older_ones(identifier: str) -> None:
    known = rule(identifier)
    assert known.conditions
    assert known.profile in PROFILES
    assert known.seeds >= 1
    names = [condition.name for condition in known.conditions]
    assert len(names) == len(set(names))
    for condition in known.conditions:
        assert bool(condition.each) == bool(condition.cases)
        assert condition.holds.words in str(known)
    assert known.history.startswith(f"The rule is of {known.since}, ")
    for line in known.older:
        assert f"The rule of {line['since']}" in known.history
        assert line["said"] in ("holds", "holds in part", "does not hold", "undecided")
        assert line["since"] <= line["until"] <= known.since


@pytest.mark.parametrize("identifier", IDS)
def test_what_holds_holds_in_part(identifier: str) -> None:
    """The region of "in part" has that of "holds" in it, so that an answer is never ruled out."""
    for condition in rule(identifier).conditions:
        inside, part = condition.holds, condition.in_part
        assert part.low <= inside.low
        assert inside.high <= part.high


def test_a_rule_that_is_younger_than_its_rows_says_so_in_the_verdict() -> None:
    for paper in papers():
        for verdict in verdicts(paper):
            known = rule(verdict.id)
            assert verdict.history == known.history
            if known.rows_known == "yes":
                assert "younger than its rows" in verdict.history
    noisy = next(v for v in verdicts("noise-optimization") if v.id == "NO-12")
    assert "The rule of 2026-11-21, written with its first rows, said of the same rows: holds." in (
        noisy.history
    )


def test_a_claim_without_a_rule_is_named() -> None:
    with pytest.raises(LookupError, match=r"^The claim BWS-99 has no rule in "):
        rule("BWS-99")


def test_what_is_out_of_scope_has_a_reason() -> None:
    lines = out_of_scope()
    assert {line["paper"] for line in lines} == set(papers())
    assert all(line["sentence"] and line["where"] and line["reason"] for line in lines)
