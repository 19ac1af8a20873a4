"""Every claim comes out every way on hand-made rows; the paper's own numbers are judged too."""

from collections.abc import Iterable

import pytest
from hand_made import Changes, Key, check, printed, rows_of, tried_every_way

from robustnb.papers.bang import claims
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
ALL = [name for name in dict.fromkeys(key[1] for key in PRINTED if key[0] == "1") if name[0] == "B"]
SIZES, SIZES_CIFAR = ("0.1", "0.2"), ("2/255", "4/255")
OWN: Changes = {
    ("fgs", COUNTED, B1): 1.68,
    ("fgs", MARGIN, B1): 1.7,
    **{("fgs", BLANK, name): 95.0 for name in ALL},
    ("hot-cold", "unit weights: Linf", "R0"): 110.0,
    ("hot-cold", "unit weights: Linf", B1): 170.0,
    ("random noise", "iteration 500, std 100", "R0"): 60.0,
    ("random noise", "iteration 500, std 100", B1): 50.0,
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
    **{("worst case", f"worst case, eps={eps}", "R0"): 60.0 for eps in SIZES},
    **{("worst case", f"worst case, eps={eps}", B1): 70.0 for eps in SIZES},
    **{("worst case, CIFAR-10", f"worst case, eps={eps}", "R0"): 20.0 for eps in SIZES_CIFAR},
    **{("worst case, CIFAR-10", f"worst case, eps={eps}", C0): 30.0 for eps in SIZES_CIFAR},
}
RATE = ("1", B1, "FGS rate")
UNIT = ("hot-cold", "unit weights: Linf", B1)
HC1 = ("1", B1, "HC1 Linf")
CIFAR_NOISE = ("random noise, CIFAR-10", LATE_40, C0)
CIFAR_FGS = ("2", C0, "FGS rate")
EARLY = ("random noise", "iteration 500, std 100", B1)


def at_worst(table: str, network: str, sizes: Iterable[str], value: float) -> Changes:
    return {(table, f"worst case, eps={eps}", network): value for eps in sizes}


def judge(
    number: int, changes: Changes | None = None, seeds: int = 3, profile: str = "paper"
) -> Verdict:
    """Judge BANG-`number` on the paper's own cells and OWN with some of them changed."""
    cells = PRINTED | OWN | (changes or {})
    return CLAIMS[f"BANG-{number}"](rows_of("bang", cells, seeds, profile))


# fmt: off
CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "in 6 of 6 networks. One by one, B0: 0 ("),
    (1, {("1", B4, "accuracy"): 99.0}, "holds in part", "B4: -0.16"),
    (1, {("1", "R0", "accuracy"): 99.5}, "does not hold", "in 0 of 6 networks"),
    (1, {("1", B4, "accuracy"): [98.9, 99.1, 99.3]}, "undecided", "In 1 it is open."),
    (2, {}, "holds", "FGS on B1 is 1.68% (1.68 to 1.68, 3 seeds)"),
    (2, {RATE: 82.5}, "holds in part", "it is 1.68 ± 0.00%; with a loss that does not saturate"),
    (2, {RATE: 95.0}, "does not hold", "minus that on B1 is -4.67"),
    (2, {RATE: [70.0, 90.0, 95.0]}, "undecided", "holds in part or does not hold"),
    (3, {}, "holds", "in 6 of 6 networks"),
    (3, {("fgs", BLANK, B1): 70.0}, "holds in part", "in 5 of 6 networks"),
    (3, {("fgs", BLANK, name): 20.0 for name in ALL[:4]}, "does not hold", "in 2 of 6"),
    (3, {("fgs", BLANK, B1): []}, "undecided", "B1: not measured"),
    (4, {}, "holds", "HC1's Linf from R0 to B1 is 79.2 pixels"),
    (4, {UNIT: 109.0}, "holds in part", "with weights of 1 and -1 is -1 pixels"),
    (4, {HC1: 130.0}, "holds in part", "to B1 is 7.4 pixels"),
    (4, {HC1: 120.0}, "does not hold", "to B1 is -2.6 pixels"),
    (5, {}, "holds", "to B1 of the answers that noise of std 100 changes is 17 points"),
    (5, {("random noise", LATE, B1): 9.0}, "holds in part", "answers that it changes is 9%"),
    (5, {("random noise", LATE, B1): 20.5}, "does not hold", "is -0.5 points"),
    (5, {("random noise", LATE, B1): [10.0, 20.0, 30.0]}, "undecided", "all open"),
    (6, {}, "holds", "accuracy of B0 minus that of R0 is -0.33 points"),
    (6, {("2", C0, "accuracy"): 70.0}, "holds in part", "-9.59"),
    (6, {CIFAR_FGS: 77.0}, "holds in part", "FGS on B0 is 77%"),
    (6, {CIFAR_FGS: 97.0}, "does not hold", "minus that on B0 is -0.48"),
    (6, {CIFAR_FGS: 97.0, ("2", "R0", "accuracy"): 74.59}, "undecided", "R0 has learned too"),
    (7, {CIFAR_NOISE: 39.0}, "holds", "changes is 7 points"),
    (7, {CIFAR_NOISE: 44.0}, "holds in part", "changes is 2 points"),
    (7, {CIFAR_NOISE: 47.0}, "does not hold", "changes is -1 points"),
    (7, {("2", "R0", "accuracy"): 74.59}, "undecided", "its clean accuracy is 74.6, where 0.975"),
    (8, {}, "holds", "is 1.1 (1.1 to 1.1, 3 seeds), where the claim asks for at most 1.25."),
    (8, {("cost", "training step", "ratio"): 1.4}, "holds in part", "is 1.4"),
    (8, {("cost", "training step", "ratio"): 1.9}, "does not hold", "is 1.9"),
    (8, {("cost", "training step", "ratio"): [1.1, 1.2, 1.6]}, "undecided", "is 1.3"),
    (9, {}, "holds", "in 2 of 2 stages of training"),
    (9, {EARLY: 60.0}, "holds in part", "iteration 500: 0 ("),
    (9, {EARLY: 60.0, ("random noise", LATE, B1): 20.0}, "does not hold", "in 0 of 2"),
    (10, {}, "holds", "in 2 of 2 sizes of perturbation"),
    (10, at_worst("worst case", B1, SIZES[:1], 50.0), "holds in part", "eps=0.1: -10"),
    (10, at_worst("worst case", B1, SIZES, 50.0), "does not hold", "In 2 it is not."),
    (11, {}, "holds", "in 2 of 2 sizes of perturbation"),
    (11, at_worst("worst case, CIFAR-10", C0, SIZES_CIFAR[:1], 5.0), "holds in part", "-15, "),
    (11, at_worst("worst case, CIFAR-10", C0, SIZES_CIFAR, 5.0), "does not hold", "In 2 it is not"),
]
# fmt: on


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"BANG-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    assert tried_every_way({(number, answer) for number, _, answer, _ in CASES}, 11)


@pytest.mark.parametrize("number", range(1, 12))
def test_another_profile_is_said(number: int) -> None:
    verdict = judge(number, profile="laptop")
    assert verdict.reason.startswith("At profile laptop. ")
    is_enough = number in (6, 7, 8, 11)
    assert ("The rule takes rows of profile paper." in verdict.reason) != is_enough


@pytest.mark.parametrize("number", range(1, 12))
def test_one_seed_decides_nothing(number: int) -> None:
    """One rounding error in training changes a network as much as another seed does."""
    assert judge(number, seeds=1).answer == "undecided"


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (1, ("1", "R0", "accuracy")),
        (2, ("fgs", COUNTED, B1)),
        (3, ("fgs", MARGIN, B1)),
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


def test_a_network_that_was_not_measured_is_open() -> None:
    others = {("1", name, "accuracy"): [] for name in ALL if name != B1}
    verdict = judge(1, others)
    assert verdict.answer == "undecided"
    assert "in 1 of 6 networks. In 5 it is open." in verdict.reason
    assert judge(1, others | {("1", B1, "accuracy"): []}).answer == "not run"


def test_the_last_iteration_decides_about_noise() -> None:
    assert judge(5, {("random noise", LATE, n): [] for n in ("R0", B1)}).answer == "not run"
    rows = [key for key in OWN if key[0] == "random noise, CIFAR-10"]
    verdict = judge(7, {key: [] for key in rows})
    assert verdict.reason == "Not measured yet: table random noise, CIFAR-10, std 40."
