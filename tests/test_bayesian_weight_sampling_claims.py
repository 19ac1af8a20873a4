"""Every claim comes out every way on hand-made rows; the paper's own numbers are judged too."""

import pytest
from hand_made import Changes, Key, check, printed, row, rows_of

from robustnb.papers.bayesian_weight_sampling import claims
from robustnb.papers.bayesian_weight_sampling.claims import (
    BAYESIAN,
    RHOS,
    SETS,
    SOURCES,
    STANDARD,
)
from robustnb.reproduction import verdicts
from robustnb.results import published
from robustnb.verdicts import Claim, Verdict

PAPER = "bayesian-weight-sampling"
CLAIMS = {each.id: each for each in vars(claims).values() if isinstance(each, Claim)}
PRINTED = printed(PAPER)
STEPS = ("alpha=0.0125", "alpha=0.25")
OWN: Changes = {
    **{("distortion", name, "mean distortion"): 0.07 for name in SETS},
    ("unpruned", "original test", "ensemble N=100"): 97.5,
    ("controls", "plain, variational step", "average over 12 sets"): 70.0,
    ("controls", "plain, both", "average over 12 sets"): 75.0,
    ("controls", "mean weights", "average over 12 sets"): 75.0,
    ("controls", "mean weights, rho_init=-4", "average over 12 sets"): 74.0,
    **{("attack step", step, column): 80.0 for step in STEPS for column in BAYESIAN},
    **{("attack step", step, column): 65.0 for step in STEPS for column in STANDARD},
}
COLUMNS = BAYESIAN + STANDARD
CLEAN = [("1", "test", column) for column in BAYESIAN]
AVERAGE = {column.split()[1]: ("2", "average", column) for column in (*BAYESIAN, *STANDARD)}
MEAN_WEIGHTS = ("controls", "mean weights", "average over 12 sets")
BOTH = ("controls", "plain, both", "average over 12 sets")


def judge(
    number: int, changes: Changes | None = None, seeds: int = 3, profile: str = "paper"
) -> Verdict:
    """Judge BWS-`number` on the paper's own cells and OWN with some of them changed."""
    cells = PRINTED | OWN | (changes or {})
    rows = rows_of(PAPER, cells, seeds, profile)
    return CLAIMS[f"BWS-{number}"]([each | {"settings": {"sets": SETS}} for each in rows])


def on_sets(column: str, sets: int, value: float) -> Changes:
    return {("2", name, column): value for name in SETS[:sets]}


# fmt: off
CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "clean accuracy at rho_init=-1.5 minus the printed one is 0 points"),
    (1, {CLEAN[-1]: 79.4}, "holds in part", "is -15.2 points"),
    (1, {key: 95 + i / 3 for i, key in enumerate(CLEAN)}, "does not hold", "is 0.333 points a"),
    (2, {}, "holds", "is -0.43 points (-0.43 to -0.43, 3 seeds)"),
    (2, dict.fromkeys(CLEAN, 95.0), "holds in part", "is -2.94 points"),
    (2, {CLEAN[2]: 98.0}, "does not hold", "rho_init=-4 and lambda=1e-2"),
    (2, {CLEAN[0]: [96.0, 98.0, 100.0]}, "undecided", "all open"),
    (3, {}, "holds", "in 12 of 12 perturbation sets"),
    (3, {("distortion", SETS[0], "mean distortion"): 0.1}, "holds in part", "in 11 of 12"),
    (3, {("distortion", s, "mean distortion"): 0.2 for s in SETS[:6]}, "does not hold", "6 of 12"),
    (4, {}, "holds", "minus that at -30 is 2.21 points"),
    (4, {AVERAGE["rho_init=-2.5"]: 90.0}, "holds in part", "the best of -10, -2.5 and -2 is -6.78"),
    (4, {AVERAGE["rho_init=-30"]: 90.0}, "does not hold", "minus that at -30 is -6.78"),
    (4, {AVERAGE["rho_init=-3"]: [76.0, 83.0, 92.0]}, "undecided", "better of rho_init=-4 and -3"),
    (5, {}, "holds", "is 15.4 points (15.4 to 15.4, 3 seeds), where the claim asks for at least"),
    (5, {AVERAGE["lambda=1"]: 77.0}, "holds in part", "rho_init=-3 and lambda=1."),
    (5, {("attack step", STEPS[0], STANDARD[0]): 70.0}, "holds in part", "in 1 of 2 steps"),
    (5, {("attack step", STEPS[0], STANDARD[0]): 90.0}, "does not hold", "alpha=0.0125: -10"),
    (5, {AVERAGE["lambda=1"]: 90.0}, "does not hold", "-6.78"),
    (5, {AVERAGE["lambda=1"]: [70.0, 80.0, 99.0]}, "undecided", "all open"),
    (6, {}, "holds in part", "in 8 of 12 perturbation sets. In 4 it is not."),
    (6, on_sets(BAYESIAN[3], 12, 99.0), "holds", "the paper's own Table 2 shows 8 of 12"),
    (6, on_sets(STANDARD[0], 12, 99.9), "does not hold", "0 of 12"),
    (6, on_sets(STANDARD[0], 6, 99.9), "does not hold", "4 of 12"),
    (7, {}, "holds", "is 1.36 points"),
    (7, {AVERAGE["lambda=0"]: [60.0, 66.0, 72.0]}, "undecided", "is 1.78 points (-13.1 to 16.7"),
    (7, {AVERAGE["lambda=1e-4"]: 71.0}, "does not hold", "best one is lambda=1e-4"),
    (8, {}, "holds", "is 5.07"),
    (8, {("3", "average", "ensemble N=100"): 85.0}, "holds in part", "is 1.79"),
    (8, {("3", "average", "ensemble N=100"): 83.0}, "does not hold", "is -0.21"),
    (9, {("4", "average", "pruned 50%"): 88.0}, "holds", "in 2 of 2 kinds of data"),
    (9, {}, "holds in part", "4.05 points below its own unpruned 88.28% (Table 3)"),
    (9, {("unpruned", "original test", "ensemble N=100"): 99.4}, "does not hold", "clean: -1.91"),
    (10, {}, "holds", "is 8.81 points"),
    (10, {("4", "average", "pruned 75%"): 70.0}, "holds in part", "is 2.22"),
    (10, {("4", "average", "pruned 75%"): 60.0}, "does not hold", "is -7.78"),
    (11, {}, "holds", "Its lead in points is 8.22 ± 0.00 against 'plain, both' and"),
    (11, {MEAN_WEIGHTS: 89.7}, "holds in part", "-6.48 ± 0.00 against its own mean weights"),
    (11, {BOTH: 84.3}, "holds in part", "'plain, both': -8.8"),
    (11, {BOTH: 84.3, MEAN_WEIGHTS: 89.7}, "does not hold", "In 2 it is not."),
    (11, {AVERAGE["lambda=1"]: 90.0}, "does not hold", "standard one is -6.78"),
    (11, {AVERAGE["rho_init=-4"]: 84.0}, "holds", "rho_init=-4. Its lead in points is"),
    (12, {}, "holds", "is 20.5 points"),
    (12, {("3", "average", "ensemble N=100"): 80.0}, "holds in part", "is 12.2"),
    (12, {("3", "average", "ensemble N=100"): 60.0}, "does not hold", "is -7.78"),
    (13, {}, "holds in part", "is 50%"),
    (14, {("2", "FC-10 lambda=0", c): 0.0 for c in COLUMNS}, "holds in part", "in 2 of 3"),
    (14, {("2", f"{s} lambda=1", c): 0.0 for s in SOURCES for c in COLUMNS}, "holds", "in 3 of 3"),
    (14, {("2", f"{s} lambda=0", c): 0.0 for s in SOURCES for c in COLUMNS}, "does not hold", "0"),
    (15, {MEAN_WEIGHTS: 82.0}, "holds", "without is 0.99 points"),
    (15, {MEAN_WEIGHTS: 82.0, AVERAGE["rho_init=-30"]: 81.9, AVERAGE["rho_init=-3"]: 81.5,
          AVERAGE["rho_init=-4"]: 81.0}, "holds in part", "without noise is -0.4"),
    (15, {}, "does not hold", "without is -6.01 points"),
    (16, {}, "holds", "lambda=1 is -6.66 points"),
    (16, {("1", "test", STANDARD[2]): 97.0}, "holds in part", "lambda=1e-2 is -0.57"),
    (16, {("1", "test", STANDARD[3]): 96.0}, "does not hold", "lambda=1 is -1.57"),
]
# fmt: on


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"BWS-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    """All but BWS-13, which counts what is stored: the rows only say that it was pruned."""
    tried = {(number, answer) for number, _, answer, _ in CASES}
    several = set(range(1, 17)) - {7, 13}
    assert all(
        {(n, a) for a in ("holds", "holds in part", "does not hold")} <= tried for n in several
    )
    assert {(7, "holds"), (7, "does not hold"), (13, "holds in part")} <= tried


@pytest.mark.parametrize("number", range(1, 17))
def test_another_profile_is_said_and_decides_only_what_it_may(number: int) -> None:
    verdict = judge(number, profile="laptop")
    assert verdict.reason.startswith("At profile laptop. ")
    assert verdict.answer == "undecided"
    assert "The rule takes rows of profile paper." in verdict.reason


@pytest.mark.parametrize("number", set(range(1, 17)) - {13})
def test_one_seed_decides_nothing(number: int) -> None:
    verdict = judge(number, seeds=1)
    assert verdict.answer == "undecided"
    assert "one seed, where the rule asks for 3" in verdict.reason


def test_the_strongest_plain_control_counts() -> None:
    stronger = ("controls", "plain, both, matched targets", "average over 12 sets")
    assert "'plain, both, matched targets'" in judge(11, {stronger: 80.0}).reason


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (1, CLEAN[3]),
        (9, ("unpruned", "original test", "ensemble N=100")),
        (11, BOTH),
        (11, MEAN_WEIGHTS),
    ],
)
def test_a_missing_cell_is_named(number: int, missing: Key) -> None:
    verdict = judge(number, {missing: []})
    assert verdict.answer == "not run"
    assert verdict.reason == f"Not measured yet: table {', '.join(missing)}."


def test_rows_of_two_profiles_are_refused() -> None:
    rows = [row(PAPER, CLEAN[0], 97.0, 0, profile) for profile in ("laptop", "paper")]
    with pytest.raises(ValueError, match="not of laptop and paper"):
        verdicts(PAPER, rows)


def test_a_set_that_is_missing_is_open() -> None:
    verdict = judge(3, {("distortion", SETS[4], "mean distortion"): []})
    assert verdict.answer == "undecided"
    assert "in 11 of 12 perturbation sets. In 1 it is open." in verdict.reason


def test_names_are_those_of_the_published_tables() -> None:
    cells = {(c["table"], c["row"], c["column"]) for c in published(PAPER)}
    assert {("2", s, c) for s in (*SETS, "average") for c in (*BAYESIAN, *STANDARD)} == {
        cell for cell in cells if cell[0] == "2"
    }
    assert len(RHOS) == 7
