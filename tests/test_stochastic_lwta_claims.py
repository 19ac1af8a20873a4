"""Every claim comes out every way on hand-made rows; the report's own numbers are judged too."""

import pytest
from hand_made import Changes, Key, check, printed, rows_of, tried_every_way

from robustnb.papers.stochastic_lwta.attacks import on_blocks
from robustnb.papers.stochastic_lwta.claims import ATTACKED, LONGER, MIXTURES, SINGLE, WITHIN
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
    **{(WITHIN, name, PGD): 1.5 for name in (REGULAR, *MIXTURES)},
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
    return verdicts(PAPER, rows_of(PAPER, cells, 2, profile))[number - 1]


def in_table_1(column: str, values: dict[str, float]) -> Changes:
    return {("1", name, column): value for name, value in values.items()}


CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "of 63.67 ± 0.00%, regular training keeps 1.37 ± 0.00% under PGD and 0.98"),
    (1, in_table_1(PGD, {REGULAR: 60.0}), "holds in part", "keeps 60.00"),
    (
        1,
        in_table_1(PGD, {REGULAR: 60.0}) | in_table_1("FGSM accuracy", {REGULAR: 30.0}),
        "does not hold",
        "30.00 ± 0.00% under FGSM, where guessing has 10%",
    ),
    (2, {}, "holds", "0 of 3 mixtures gain more than 2 points over the 1.37 ± 0.00% of regular"),
    (2, in_table_1(PGD, {MIXED: 9.37}), "holds in part", "1 of 3 mixtures"),
    (
        2,
        in_table_1(PGD, dict.fromkeys(MIXTURES, 11.37)),
        "holds in part",
        "10.00 ± 0.00, and within the ball of the training 0.00 ± 0.00; with ten steps instead of",
    ),
    (2, {(WITHIN, MIXED, PGD): 9.0}, "holds in part", "within the ball of the training 7.50"),
    (
        2,
        in_table_1(PGD, dict.fromkeys(MIXTURES, 11.37))
        | {(WITHIN, name, PGD): 9.0 for name in MIXTURES},
        "does not hold",
        "the mixture of all gains 0.50 ± 0.00. Training on PGD in every minibatch keeps 30.00",
    ),
    (3, {}, "holds", "PGD 13.67 ± 0.00, FGSM 46.93 ± 0.00, CW 22.82 ± 0.00; under the worst"),
    (3, {ON_PNI: 2.5}, "holds in part", "averaged gradients among them, by 1.50"),
    (3, in_table_1(PGD, {MIXED_NOISE: 1.0}), "holds in part", "PGD 0.41"),
    (3, in_table_1(CW, {MIXED_NOISE: 0.0}), "holds", "CW -"),
    (
        3,
        {ON_PNI: 0.0} | {("1", MIXED_NOISE, column): 0.0 for column in ATTACKED},
        "does not hold",
        "by -1.00",
    ),
    (4, {}, "holds", "in table 1 the best is Stochastic LWTA (PGD) and Stochastic LWTA (CW); "),
    (4, {ON_LWTA: 31.0}, "holds in part", "(the strongest is PGD, mean mask) 31.00"),
    (4, in_table_1(CW, {REGULAR: 90.0}), "holds in part", "Regular training (CW)"),
    (4, {ON_LWTA: 0.0}, "does not hold", "0.00 ± 0.00%, and 30.00 ± 0.00% to a ReLU network"),
    (4, {ON_TUNED: 35.0}, "does not hold", "35.00 ± 0.00% to a ReLU network trained on PGD"),
    (
        4,
        ON_DEEP,
        "holds",
        "; with the report's architecture 40.00 ± 0.00%, 20.00 ± 0.00% and",
    ),
    (4, ON_DEEP | {(DEEP, WORST, TUNED): 25.0}, "does not hold", "20.00 ± 0.00% and 25.00"),
    (5, {}, "holds", "has probability 0.15 ± 0.00 on average and more than 0.5 in 2.00"),
    (5, {ANSWER: 0.4}, "holds in part", "over all ten classes the mean is 0.10"),
    (
        5,
        {ANSWER: 0.8, ("calibration", LWTA, "answers above 0.5"): 90.0},
        "does not hold",
        "90.00 ± 0.00% of the answers",
    ),
    (6, {}, "holds", "an image takes 166.00 ± 0.00 ms alone and 20.00 ± 0.00 ms in a batch of 128"),
    (6, {ONE_IMAGE: 400.0}, "holds in part", "400.00"),
    (6, {ONE_IMAGE: 20.0}, "does not hold", "with ReLU 80.00 ± 0.00 and 8.00 ± 0.00 ms"),
]


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"LWTA-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    assert tried_every_way({(number, answer) for number, _, answer, _ in CASES}, 6)


@pytest.mark.parametrize("number", range(1, 7))
def test_another_profile_is_said(number: int) -> None:
    assert judge(number, profile="laptop").reason.startswith("At profile laptop, ")


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (1, ("1", REGULAR, PGD)),
        (2, ("controls", TUNED, PGD)),
        (3, ON_PNI),
        (4, ON_TUNED),
        (5, ANSWER),
        (6, ("cost", REGULAR, "batch of 128")),
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
