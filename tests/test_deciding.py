"""The answer is what every number in the intervals says, and undecided where they say different."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustnb.deciding import Found, decide
from robustnb.intervals import Region
from robustnb.quantities import NotMeasured, Quantity, Undecided
from robustnb.rules import Condition, Rule

GAIN = Condition(
    "gain", "the gain", "points", "", None, Region.of("at least 5"), Region.of("more than 0")
)
WINS = Condition(
    *("wins", "the lead", "points", "sets"),
    *map(Region.of, ("more than 0", "all", "at least 1/2")),
)
RULE = Rule((GAIN,), "seeds", 3, "paper", 0, "2026-11-29", "no", "first rule", ())


def about(*values: float) -> Quantity:
    """Return a number with its value for each seed."""
    return Quantity(dict(enumerate(values)))


def gained(*values: float, rule: Rule = RULE, profile: str = "paper") -> tuple[str, str]:
    return decide(Found({"gain": about(*values)}), rule, profile)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ((9.0, 10.0, 11.0), "holds"),  # 10 ± 2.48
        ((2.4, 2.5, 2.6), "holds in part"),
        ((-2.4, -2.5, -2.6), "does not hold"),
        ((5.4, 5.5, 5.7), "holds"),
        ((4.0, 5.0, 6.0), "undecided"),
        ((-1.0, 0.0, 1.0), "undecided"),
        ((0.0, 0.0, 0.0), "does not hold"),
    ],
)
def test_inside_holds_and_outside_does_not(values: tuple[float, ...], answer: str) -> None:
    assert gained(*values)[0] == answer


def test_the_sentence_has_the_number_its_interval_and_what_is_asked() -> None:
    _, reason = gained(9.0, 10.0, 11.0)
    assert reason == (
        "The gain is 10 points (7.52 to 12.5, 3 seeds), where the claim asks for at least 5."
    )
    _, reason = gained(4.0, 5.0, 6.0)
    assert reason.endswith("The intervals leave open whether it holds or holds in part.")
    _, reason = gained(-9.0, 0.0, 20.0)
    assert reason.endswith("The intervals leave all open.")


def test_too_few_seeds_and_too_small_a_scale_decide_nothing() -> None:
    answer, reason = gained(9.0, 10.0)
    assert answer == "undecided"
    assert "10 points (2 seeds, where the rule asks for 3)" in reason.replace("9.5", "10")
    answer, reason = gained(9.0, 10.0, 11.0, profile="laptop")
    assert answer == "undecided"
    assert reason.endswith("The rule takes rows of profile paper.")
    assert gained(9.0, 10.0, 11.0, profile="laptop", rule=replace(RULE, profile="laptop"))[0] == (
        "holds"
    )


def test_a_doubt_leaves_it_undecided() -> None:
    found = Found({"gain": about(9.0, 10.0, 11.0)}, doubt="It has learned too little")
    answer, reason = decide(found, RULE)
    assert answer == "undecided"
    assert reason.endswith(" It has learned too little.")


def test_a_range_is_inside_with_every_seed() -> None:
    rule = replace(RULE, over="range", seeds=1)
    assert gained(5.0, 9.0, rule=rule)[0] == "holds"
    assert gained(4.0, 9.0, rule=rule)[0] == "undecided"
    assert gained(1.0, 2.0, rule=rule)[0] == "holds in part"


def won(*sets: Quantity | NotMeasured) -> tuple[str, str]:
    found = Found({"wins": {f"set {number}": each for number, each in enumerate(sets)}})
    return decide(found, replace(RULE, conditions=(WINS,)))


YES, NO, EVEN = about(5.0, 5.1, 4.9), about(-5.0, -5.1, -4.9), about(-1.0, 0.0, 1.0)
MISSING, UNLEARNED = NotMeasured("Not measured yet."), Undecided("it has learned too little")


@pytest.mark.parametrize(
    ("sets", "answer", "told"),
    [
        ((YES, YES, YES, YES), "holds", "in 4 of 4 sets. One by one, set 0: 5 (4.49"),
        ((YES, YES, NO, NO), "holds in part", "in 2 of 4 sets. In 2 it is not."),
        ((YES, NO, NO, NO), "does not hold", "in 1 of 4 sets"),
        ((YES, YES, NO, EVEN), "holds in part", "In 1 it is not. In 1 it is open."),
        ((YES, YES, YES, EVEN), "undecided", "whether it holds or holds in part"),
        ((YES, NO, NO, MISSING), "undecided", "set 3: not measured."),
        ((YES, YES, NO, UNLEARNED), "holds in part", "set 3: it has learned too little."),
    ],
)
def test_cases_are_counted(
    sets: tuple[Quantity | NotMeasured, ...], answer: str, told: str
) -> None:
    found, reason = won(*sets)
    assert (found, told in reason) == (answer, True), reason


def test_intervals_of_many_cases_are_wider() -> None:
    """Just right at 95%, a gain is open as one of ten."""
    barely = about(9.0, 10.0, 16.0)  # 11.7 ± 9.4
    assert won(barely)[0] == "holds"
    assert won(*[barely] * 10)[0] == "undecided"


def test_of_many_cases_the_ends_are_told() -> None:
    _, reason = won(*(about(float(n), n + 0.1, n - 0.1) for n in range(1, 9)))
    assert "The least and the largest, set 0: 1 (" in reason
    assert "; set 7: 8 (" in reason
    assert "set 3" not in reason


def test_the_same_cases_are_told_once() -> None:
    again = replace(WINS, name="again", each=Region.of("more than 3"))
    cases = {"one": YES, "two": YES}
    _, reason = decide(
        Found({"wins": cases, "again": cases}), replace(RULE, conditions=(WINS, again))
    )
    assert reason.count("one: 5") == 1
    assert "is more than 3 points in 2 of 2 sets." in reason


REGIONS = st.sampled_from(["more than 0", "at least 1", "-1 to 1", "less than 2", "anything"])
ENDS = st.lists(st.integers(-3, 3), min_size=2, max_size=2).map(sorted)


@given(st.lists(st.tuples(REGIONS, REGIONS, ENDS), min_size=1, max_size=3))
def test_the_answer_is_that_of_every_number_in_the_intervals(
    drawn: list[tuple[str, str, list[int]]],
) -> None:
    """Try numbers all along each interval: where all give one answer, it is the answer."""
    conditions, contrasts, tried = [], {}, []
    for number, (holds, in_part, (low, high)) in enumerate(drawn):
        region = Region.of(holds)
        wider = Region.of(in_part)
        # Where a claim holds it holds in part, too.
        grid = [low + (high - low) * k / 24 for k in range(25)]
        if any(x in region and x not in wider for x in [k / 4 for k in range(-12, 13)]):
            wider = region
        conditions.append(Condition(f"{number}", "it", "", "", None, region, wider))
        contrasts[f"{number}"] = about(low, high)
        tried.append([(x in region, x in wider) for x in grid])
    answers = {
        "holds"
        if all(inside for inside, _ in each)
        else "holds in part"
        if all(part for _, part in each)
        else "does not hold"
        for each in product(*(set(results) for results in tried))
    }
    rule = replace(RULE, conditions=tuple(conditions), over="range", seeds=1)
    expected = answers.pop() if len(answers) == 1 else "undecided"
    assert decide(Found(contrasts), rule)[0] == expected


def test_infinite_intervals_never_decide() -> None:
    answer, reason = gained(7.0)
    assert answer == "undecided"
    assert str(math.inf) not in reason
