"""The machinery of verdicts: quantities pair their seeds, what is missing is said."""

import pytest
from hand_made import rows_of

from robustnb.results import published
from robustnb.verdicts import (
    Finding,
    Measured,
    NotMeasured,
    Quantity,
    Undecided,
    claim,
    graded,
    most_decided,
)


def test_a_difference_pairs_the_seeds() -> None:
    difference = Quantity({0: 5.0, 1: 7.0, 2: 1.0}) - Quantity({1: 4.0, 0: 1.0})
    assert difference.by_seed == {0: 4.0, 1: 3.0}
    assert difference.mean == 3.5
    assert difference.spread == pytest.approx(0.5**0.5)
    assert str(difference) == "3.50 ± 0.71"


def test_one_seed_has_no_spread() -> None:
    assert Quantity({3: 1.0}).spread is None
    assert str(Quantity({3: 1.0})) == "1.00"


def test_quantities_without_a_common_seed_cannot_be_compared() -> None:
    with pytest.raises(NotMeasured, match="same seed"):
        Quantity({0: 1.0}) - Quantity({1: 1.0})


CELL = ("1", "R0", "accuracy")


@claim("BANG-1")
def accuracy_is_high(measured: Measured) -> Finding:
    """Look at one cell."""
    accuracy = measured(*CELL)
    if accuracy.mean == 0:
        raise Undecided("it tells nothing.")
    claimed = measured.printed(*CELL)
    return Finding(graded(accuracy.mean >= claimed), f"it is {accuracy}%.", {"it": accuracy.mean})


def test_a_claim_is_decided_from_rows_and_says_the_profile() -> None:
    for profile, reason in (("paper", "It is 99.50%."), ("laptop", "At profile laptop, it is")):
        verdict = accuracy_is_high(rows_of("bang", {CELL: 99.5}, 1, profile))
        assert (verdict.id, verdict.answer, verdict.numbers) == ("BANG-1", "holds", {"it": 99.5})
        assert verdict.reason.startswith(reason)
        assert verdict.claim
        assert verdict.decided_by
    assert accuracy_is_high(rows_of("bang", {CELL: 1}, 1, "paper")).answer == "does not hold"


def test_what_is_missing_or_tells_nothing_is_said() -> None:
    missing = accuracy_is_high([])
    assert missing.answer == "not run"
    assert missing.reason == "Not measured yet: table 1, R0, accuracy."
    undecided = accuracy_is_high(rows_of("bang", {CELL: 0}, 1, "smoke"))
    assert undecided.answer == "undecided"
    assert undecided.reason == "At profile smoke, it tells nothing."


def test_rows_of_two_profiles_give_no_verdict() -> None:
    rows = [row for p in ("smoke", "paper") for row in rows_of("bang", {CELL: 1}, 1, p)]
    with pytest.raises(ValueError, match="rows of one profile, not of paper and smoke"):
        accuracy_is_high(rows)


def test_the_first_verdict_that_decides_counts() -> None:
    not_run, undecided, no, yes = (
        accuracy_is_high(rows_of("bang", {CELL: value}, 1, "paper")) for value in (None, 0, 1, 100)
    )
    assert most_decided([[not_run], [undecided], [no], [yes]]) == [no]
    assert most_decided([[not_run], [undecided]]) == [undecided]
    assert most_decided([[not_run, yes], [not_run, no]]) == [not_run, yes]


def test_the_printed_rows_of_a_table_are_named_in_their_order() -> None:
    names = Measured("bang", []).printed_rows("1")
    assert names[0] == "R0"
    assert len(names) == len({cell["row"] for cell in published("bang", "1")})
