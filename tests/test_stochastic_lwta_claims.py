"""Every claim comes out every way on hand-made rows; the report's own numbers are judged too."""

import pytest
from hand_made import Changes, Key, check, printed, rows_of, tried_every_way

from robustnb.papers.stochastic_lwta.attacks import on_blocks
from robustnb.papers.stochastic_lwta.claims import ATTACKED, LONGER, MIXTURES, SINGLE
from robustnb.papers.stochastic_lwta.protocols import (
    LWTA,
    MIXED,
    MIXED_NOISE,
    PRINTED,
    PROTOCOLS,
    REGULAR,
    TUNED,
)
from robustnb.papers.stochastic_lwta.tables import DEEP, TABLES, WITH_NOISE, WITHOUT_NOISE, WORST
from robustnb.reproduction import verdicts
from robustnb.verdicts import Verdict

PAPER = "stochastic-lwta"
IN_PRINT = printed(PAPER)
PGD, CW = "PGD accuracy", "CW accuracy"
OWN: Changes = {
    ("controls", TUNED, PGD): 30.0,
    ("steps", LONGER, MIXED): 0.5,
    ("steps", LONGER, REGULAR): 0.0,
    ("attacks on PNI", WORST, WITH_NOISE): 12.0,
    ("attacks on PNI", WORST, WITHOUT_NOISE): 1.0,
    ("attacks on LWTA", SINGLE, LWTA): 36.0,
    ("attacks on LWTA", "PGD, mean mask", LWTA): 35.5,
    ("attacks on LWTA", WORST, LWTA): 35.0,
    ("attacks on LWTA", WORST, TUNED): 30.0,
    ("calibration", LWTA, "mean probability of the answer"): 0.15,
    ("calibration", LWTA, "mean probability of a class"): 0.1,
    ("calibration", LWTA, "answers above 0.5"): 2.0,
    ("calibration", LWTA, "ECE"): 0.5,
    ("cost", LWTA, "batch of 1"): 166.0,
    ("cost", LWTA, "batch of 128"): 20.0,
    ("cost", REGULAR, "batch of 1"): 80.0,
    ("cost", REGULAR, "batch of 128"): 8.0,
}
ON_LWTA = ("attacks on LWTA", WORST, LWTA)
ON_TUNED = ("attacks on LWTA", WORST, TUNED)
ON_PNI = ("attacks on PNI", WORST, WITH_NOISE)
ON_DEEP: Changes = {
    (DEEP, SINGLE, LWTA): 40.0,
    (DEEP, WORST, LWTA): 20.0,
    (DEEP, WORST, TUNED): 10.0,
}
ONE_IMAGE = ("cost", LWTA, "batch of 1")
ANSWER = ("calibration", LWTA, "mean probability of the answer")


def judge(number: int, changes: Changes | None = None, profile: str = "paper") -> Verdict:
    """Judge LWTA-`number` on the report's own cells and OWN with some of them changed."""
    cells = IN_PRINT | OWN | (changes or {})
    return verdicts(PAPER, rows_of(PAPER, cells, 3, profile))[number - 1]


def in_table_1(column: str, values: dict[str, float]) -> Changes:
    return {("1", name, column): value for name, value in values.items()}


# fmt: off
CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "in 2 of 2 attacks. One by one, PGD accuracy: 1.37 (1.37 to 1.37, 3 seeds)"),
    (1, in_table_1(PGD, {REGULAR: 60.0}), "holds in part", "PGD accuracy: 60"),
    (1, in_table_1(PGD, {REGULAR: 60.0}) | in_table_1("FGSM accuracy", {REGULAR: 30.0}),
     "does not hold", "FGSM accuracy: 30"),
    (2, {}, "holds", "is at most 2 points in 4 of 4 comparisons"),
    (2, in_table_1(PGD, {MIXED: 9.37}), "holds in part", "in 3 of 4 comparisons. In 1 it is not."),
    (2, in_table_1(PGD, dict.fromkeys(MIXTURES, 11.37)), "holds in part", "ten steps: 0.5"),
    (2, in_table_1(PGD, dict.fromkeys(MIXTURES, 11.37)) | {("steps", LONGER, MIXED): 5.0},
     "does not hold", "ten steps: 5 (5 to 5, 3 seeds). Training on PGD in every"),
    (2, in_table_1("natural accuracy", {MIXED: 50.0}), "undecided", "has learned too little"),
    (3, {}, "holds", "in 4 of 4 attacks. One by one, PGD accuracy: 13.7 ("),
    (3, {ON_PNI: 2.5}, "holds in part", "worst case: 1.5"),
    (3, in_table_1(PGD, {MIXED_NOISE: 1.0}), "holds in part", "PGD accuracy: 0.41"),
    (3, in_table_1(CW, {MIXED_NOISE: 0.0}), "holds in part", "CW accuracy: -34"),
    (3, {ON_PNI: 0.0} | {("1", MIXED_NOISE, column): 0.0 for column in ATTACKED},
     "does not hold", "worst case: -1 ("),
    (4, {}, "holds", "minus that at the worst case is 1 points"),
    (4, {ON_LWTA: 31.0}, "holds in part", "minus that at the worst case is 5 points"),
    (4, in_table_1(CW, {REGULAR: 90.0}), "holds in part", "CW accuracy: -21.2"),
    (4, {ON_LWTA: 0.0}, "does not hold", "In 1 it is not. One by one, ours: -30"),
    (4, {ON_TUNED: 35.0}, "does not hold", "ours: 0 ("),
    (4, ON_DEEP, "holds", "in 2 of 2 architectures"),
    (4, ON_DEEP | {(DEEP, WORST, TUNED): 25.0}, "does not hold", "the report's: -5"),
    (5, {ANSWER: 0.12}, "holds", "answered is 0.12 (0.12 to 0.12, 3 seeds)"),
    (5, {ANSWER: 0.4}, "holds in part", "is 0.4"),
    (5, {ANSWER: 0.8, ("calibration", LWTA, "answers above 0.5"): 90.0}, "does not hold", "is 90%"),
    (6, {}, "holds", "with ReLU 80.00 ± 0.00 ms"),
    (6, {ONE_IMAGE: 100.0}, "holds in part", "is 1.25"),
    (6, {ONE_IMAGE: 20.0}, "does not hold", "is 0.25"),
]
# fmt: on


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"LWTA-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    assert tried_every_way({(number, answer) for number, _, answer, _ in CASES}, 6)


@pytest.mark.parametrize("number", range(1, 7))
def test_another_profile_is_said(number: int) -> None:
    assert judge(number, profile="laptop").reason.startswith("At profile laptop. ")


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (2, ("controls", TUNED, PGD)),
        (3, ON_PNI),
        (4, ON_TUNED),
        (5, ANSWER),
        (6, ("cost", REGULAR, "batch of 1")),
    ],
)
def test_a_missing_cell_is_named(number: int, missing: Key) -> None:
    verdict = judge(number, {missing: None})
    assert verdict.answer == "not run"
    assert verdict.reason == f"Not measured yet: table {', '.join(missing)}."


def test_names_are_those_of_the_tables() -> None:
    assert set(MIXTURES) < set(PRINTED)
    assert {key[0] for key in OWN} < set(TABLES)
    assert {SINGLE, "PGD, mean mask"} < set(on_blocks(PROTOCOLS["paper"].strength))
