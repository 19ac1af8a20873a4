"""Every claim comes out every way on hand-made rows; the paper's own numbers are judged too."""

import pytest
from hand_made import Changes, Key, check, printed, rows_of, tried_every_way

from robustnb.papers.bang import claims
from robustnb.results import published
from robustnb.verdicts import Claim, Verdict

PRINTED = printed("bang")
CLAIMS = {each.id: each for each in vars(claims).values() if isinstance(each, Claim)}
B1, B4 = "B1 beta=1.00 epsilon=0.815", "B4 beta=1.50 epsilon=0.840"
C0 = "B0 beta=0.40 epsilon=0.855"
COUNTED = "cross-entropy, p = 1 counted as failed: success"
MARGIN = "margin: success"
BLANK = "failures with a blank gradient"
LATE, LATE_CLIPPED = "iteration 10000, std 100", "iteration 10000, std 100, clipped"
LATE_40, LATE_40_CLIPPED = "iteration 20000, std 40", "iteration 20000, std 40, clipped"
OWN: Changes = {
    ("fgs", COUNTED, B1): 1.68,
    ("fgs", MARGIN, B1): 1.7,
    ("fgs", BLANK, B1): 95.0,
    ("hot-cold", "unit weights: Linf", "R0"): 110.0,
    ("hot-cold", "unit weights: Linf", B1): 170.0,
    ("random noise", "iteration 500, std 100", "R0"): 60.0,
    ("random noise", "iteration 500, std 100", B1): 60.0,
    ("random noise", LATE, "R0"): 20.0,
    ("random noise", LATE, B1): 3.0,
    ("random noise", LATE_CLIPPED, "R0"): 16.0,
    ("random noise", LATE_CLIPPED, B1): 2.0,
    ("fgs, CIFAR-10", COUNTED, C0): 34.27,
    ("fgs, CIFAR-10", MARGIN, C0): 40.0,
    ("random noise, CIFAR-10", LATE_40, "R0"): 46.0,
    ("random noise, CIFAR-10", LATE_40, C0): 39.1,
    ("random noise, CIFAR-10", LATE_40_CLIPPED, "R0"): 45.0,
    ("random noise, CIFAR-10", LATE_40_CLIPPED, C0): 39.0,
    ("cost", "training step", "ratio"): 1.1,
}
RATE = ("1", B1, "FGS rate")
UNIT = ("hot-cold", "unit weights: Linf", B1)
HC1 = ("1", B1, "HC1 Linf")
CIFAR_NOISE = ("random noise, CIFAR-10", LATE_40, C0)


def judge(
    number: int, changes: Changes | None = None, seeds: int = 3, profile: str = "paper"
) -> Verdict:
    """Judge BANG-`number` on the paper's own cells and OWN with some of them changed."""
    cells = PRINTED | OWN | (changes or {})
    return CLAIMS[f"BANG-{number}"](rows_of("bang", cells, seeds, profile))


CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "Of 6 networks with BANG 6 are at most 0.1 points below R0 with the same"),
    (1, {("1", "R1", "accuracy"): 99.1}, "holds", "R1, plain as well, -0."),
    (1, {("1", B4, "accuracy"): 99.0}, "holds in part", "B4 -0.16 ± 0.00"),
    (1, {("1", "R0", "accuracy"): 99.5}, "does not hold", "BANG 0 are"),
    (2, {}, "holds", "90.33 ± 0.00% of R0's images and 1.68 ± 0.00% of those of B1"),
    (2, {RATE: 82.5}, "holds in part", "or 1.68 ± 0.00% if a probability of exactly 1"),
    (2, {("fgs", MARGIN, B1): 100.0}, "holds in part", "does not saturate it is 100.00"),
    (2, {RATE: 82.5, ("fgs", COUNTED, B1): 60.0}, "does not hold", "60.00"),
    (3, {}, "holds", "95.00 ± 0.00% of the failures"),
    (3, {("fgs", BLANK, B1): 70.0}, "holds in part", "70.00"),
    (3, {RATE: 90.0}, "holds in part", "of exactly 0, or 9.7% if a probability of exactly 1"),
    (3, {("fgs", BLANK, B1): 20.0}, "does not hold", "20.00"),
    (3, {RATE: 100.0, ("fgs", BLANK, B1): []}, "does not hold", "never fails on B1"),
    (4, {}, "holds", "Linf by 79.24 ± 0.00 pixels and PASS by -0.27"),
    (4, {UNIT: 109.0}, "holds in part", "it changes by -1.00"),
    (4, {UNIT: 109.0, HC1: 130.0}, "does not hold", "Linf by 7.40"),
    (5, {}, "holds", "20.00 ± 0.00% of R0's answers and 3.00 ± 0.00% of those of B1"),
    (5, {("random noise", LATE, B1): [16.0, 17.0, 18.0]}, "holds in part", "17.00 ± 1.00%"),
    (5, {("random noise", LATE, B1): [10.0, 20.0, 30.0]}, "does not hold", "20.00 ± 10.00%"),
    (6, {}, "holds", "accuracy differs by -0.33 ± 0.00 points"),
    (6, {("2", C0, "accuracy"): 70.0}, "holds in part", "-9.59"),
    (6, {("fgs, CIFAR-10", MARGIN, C0): 97.0}, "holds in part", "97.00"),
    (6, {("fgs, CIFAR-10", COUNTED, C0): 80.0}, "does not hold", "or 80.00"),
    (
        6,
        {("fgs, CIFAR-10", COUNTED, C0): 80.0, ("2", "R0", "accuracy"): 74.59},
        "undecided",
        "R0 is 5.0 points short of the paper's accuracy",
    ),
    (7, {}, "holds", "46.00 ± 0.00% of R0's answers and 39.10 ± 0.00% of those of B0"),
    (7, {CIFAR_NOISE: 44.0}, "holds in part", "44.00"),
    (7, {("2", "R0", "accuracy"): 74.59}, "holds in part", "39.00 ± 0.00%; R0 is 5.0 points"),
    (7, {CIFAR_NOISE: 47.0}, "does not hold", "47.00"),
    (8, {}, "holds", "takes 1.10 ± 0.00 times as long"),
    (8, {("cost", "training step", "ratio"): 1.4}, "holds in part", "1.40"),
    (8, {("cost", "training step", "ratio"): 1.9}, "does not hold", "1.90"),
]


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"BANG-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    assert tried_every_way({(number, answer) for number, _, answer, _ in CASES}, 8)


@pytest.mark.parametrize("number", range(1, 9))
def test_another_profile_is_said(number: int) -> None:
    assert judge(number, profile="laptop").reason.startswith("At profile laptop, ")


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (1, ("1", "R0", "accuracy")),
        (2, ("fgs", COUNTED, B1)),
        (3, ("fgs", BLANK, B1)),
        (4, UNIT),
        (5, ("random noise", LATE_CLIPPED, "R0")),
        (6, ("2", C0, "FGS rate")),
        (8, ("cost", "training step", "ratio")),
    ],
)
def test_a_missing_cell_is_named(number: int, missing: Key) -> None:
    verdict = judge(number, {missing: []})
    assert verdict.answer == "not run"
    assert verdict.reason == f"Not measured yet: table {', '.join(missing)}."


def test_the_networks_that_were_measured_are_judged() -> None:
    others = [c["row"] for c in published("bang", "1") if c["row"] not in ("R0", B1)]
    changes = {("1", name, "accuracy"): [] for name in others}
    assert "Of 1 networks with BANG 1 are" in judge(1, changes).reason
    assert judge(1, changes | {("1", B1, "accuracy"): []}).answer == "not run"


def test_the_last_iteration_decides_about_noise() -> None:
    assert judge(5, {("random noise", LATE, n): [] for n in ("R0", B1)}).answer == "not run"
    rows = [key for key in OWN if key[0] == "random noise, CIFAR-10"]
    verdict = judge(7, {key: [] for key in rows})
    assert verdict.reason == "Not measured yet: table random noise, CIFAR-10, std 40."
