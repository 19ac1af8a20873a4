"""A claim is found in measured cells and decided by its rule; what is missing is said."""

from typing import Any

import pytest
from hand_made import rows_of

from robustnb.deciding import Found
from robustnb.quantities import Undecided
from robustnb.results import published
from robustnb.verdicts import Measured, Verdict, claim, most_thorough

CELL = ("cost", "training step", "ratio")


@claim("BANG-8")
def ratio_is_small(measured: Measured) -> Found:
    """Look at one cell; the rule asks for 1.25 or less."""
    ratio = measured(*CELL)
    if ratio.mean == 0:
        raise Undecided("It tells nothing")
    return Found({"ratio": ratio}, "That is all.")


def judge(value: Any, profile: str = "paper") -> Verdict:
    return ratio_is_small(rows_of("bang", {CELL: value}, 3, profile))


def test_a_claim_is_decided_from_rows_and_says_its_rule_and_the_profile() -> None:
    for profile, where in (("paper", ""), ("laptop", "At profile laptop. ")):
        verdict = judge(1.1, profile)
        assert (verdict.id, verdict.answer, verdict.numbers) == ("BANG-8", "holds", {"ratio": 1.1})
        assert verdict.reason == (
            f"{where}The time of a training step with BANG over that of a plain one is 1.1 (1.1 to "
            "1.1, 3 seeds), where the claim asks for at most 1.25. That is all."
        )
        assert verdict.claim
        assert "at most 1.25 (in part: at most 1.5). 95% intervals over 3 seeds" in verdict.rule
        assert verdict.history.startswith("The rule is of 2026-11-29, younger than its rows: ")
    assert judge(1.4).answer == "holds in part"
    assert judge(1.6).answer == "does not hold"
    assert judge([1.2, 1.2, 1.5]).answer == "undecided"


def test_what_is_missing_or_tells_nothing_is_said() -> None:
    missing = ratio_is_small([])
    assert missing.answer == "not run"
    assert missing.reason == "Not measured yet: table cost, training step, ratio."
    undecided = judge(0, "smoke")
    assert undecided.answer == "undecided"
    assert undecided.reason == "At profile smoke. It tells nothing."


def test_rows_of_two_profiles_give_no_verdict() -> None:
    rows = [row for p in ("smoke", "paper") for row in rows_of("bang", {CELL: 1}, 1, p)]
    with pytest.raises(ValueError, match="rows of one profile, not of paper and smoke"):
        ratio_is_small(rows)


def test_a_lesser_profile_never_outvotes_a_more_thorough_one() -> None:
    not_run, undecided, no, yes = (judge(value) for value in (None, 0, 2, 1))
    assert most_thorough([[not_run], [undecided], [no], [yes]]) == [undecided]
    assert most_thorough([[not_run], [yes], [no]]) == [yes]
    assert most_thorough([[not_run], [not_run]]) == [not_run]
    assert most_thorough([[not_run, yes], [no, no]]) == [no, yes]


def test_shares_of_images_are_known_by_their_unit() -> None:
    cells = {("1", "R0", "accuracy"): 99.0, ("1", "R0", "HC1 Linf"): 40.0}
    rows = [
        row | {"num_images": 100, "unit": "%" if row["column"] == "accuracy" else "0-255 pixel"}
        for row in rows_of("bang", cells, 1, "paper")
    ]
    measured = Measured("bang", rows)
    low, high = measured("1", "R0", "accuracy").interval()
    assert (low, high) == pytest.approx((94.55, 99.82), abs=0.01)  # Wilson's, of 99 of 100
    with pytest.raises(Undecided, match="no share of images"):
        measured("1", "R0", "HC1 Linf").interval()
    assert measured("1", "R0", "HC1 Linf", whole=255).interval()[0] > 0


def test_a_network_that_has_learned_too_little_is_doubted() -> None:
    rows = rows_of("bang", {("2", "R0", "accuracy"): 71.6}, 3, "paper")
    cell = ("2", "R0", "accuracy")  # printed: 79.59
    measured = Measured("bang", rows)
    assert measured.needing(0.89).doubt(*cell) == ""
    assert "71.6, where 0.9 times the printed 79.6" in measured.needing(0.9).doubt(*cell)


def test_the_printed_rows_of_a_table_are_named_in_their_order() -> None:
    names = Measured("bang", []).printed_rows("1")
    assert names[0] == "R0"
    assert len(names) == len({cell["row"] for cell in published("bang", "1")})
