"""Every claim comes out every way on hand-made rows; the paper's own numbers are judged too."""

import pytest
from hand_made import Changes, Key, check, printed, row, rows_of, tried_every_way

from robustnb.papers.bayesian_weight_sampling import claims
from robustnb.papers.bayesian_weight_sampling.claims import BAYESIAN, RHOS, SETS, STANDARD
from robustnb.reproduction import verdicts
from robustnb.results import published
from robustnb.verdicts import Claim, Verdict

PAPER = "bayesian-weight-sampling"
CLAIMS = {each.id: each for each in vars(claims).values() if isinstance(each, Claim)}
PRINTED = printed(PAPER)
OWN: Changes = {
    **{("distortion", name, "mean distortion"): 0.07 for name in SETS},
    ("unpruned", "original test", "ensemble N=100"): 97.5,
    ("controls", "plain, variational step", "average over 12 sets"): 70.0,
    ("controls", "plain, both", "average over 12 sets"): 75.0,
    ("controls", "mean weights", "average over 12 sets"): 75.0,
}
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


CASES: list[tuple[int, Changes, str, str]] = [
    (1, {}, "holds", "falls from 97.51% to 94.58%"),
    (1, {CLEAN[-1]: 79.4}, "holds in part", "not within 1.5 points"),
    (1, {key: 95 + i / 3 for i, key in enumerate(CLEAN)}, "does not hold", "does not fall"),
    (2, {}, "holds", "by -0.43 ± 0.00 points"),
    (2, dict.fromkeys(CLEAN, 95.0), "holds in part", "by -2.94"),
    (2, {CLEAN[2]: 98.0}, "does not hold", "rho_init=-4"),
    (3, {}, "holds", "on 12 of 12 sets and at most 0.070"),
    (3, {("distortion", SETS[0], "mean distortion"): [0.09, 0.1, 0.09]}, "holds in part", "11 of"),
    (3, {("distortion", s, "mean distortion"): 0.2 for s in SETS[:6]}, "does not hold", "6 of 12"),
    (4, {}, "holds", "at rho_init=-3, 2.21 ± 0.00 points above rho_init=-30"),
    (4, {AVERAGE["rho_init=-3"]: [70.0, 80.0, 99.0]}, "holds", "at rho_init=-4"),
    (4, {AVERAGE["rho_init=-3"]: [76.0, 83.0, 92.0]}, "holds in part", "2.66 ± 8.02"),
    (4, {AVERAGE["rho_init=-2.5"]: 90.0}, "holds in part", "at rho_init=-2.5"),
    (4, {AVERAGE["rho_init=-30"]: 90.0}, "does not hold", "at rho_init=-30, 0.00"),
    (5, {}, "holds", "is 15.44 ± 0.00 points above the best standard one (lambda=1e-2)"),
    (5, {AVERAGE["lambda=1"]: 77.0}, "holds in part", "(lambda=1), where the paper has 15.44"),
    (5, {AVERAGE["lambda=1"]: 90.0}, "does not hold", "-6.78"),
    (5, {AVERAGE["lambda=1"]: [70.0, 80.0, 99.0]}, "does not hold", "0.22 ± 14.73"),
    (6, {}, "holds in part", "8 of 12 sets; the paper's own Table 2 shows 8 of 12"),
    (6, on_sets(BAYESIAN[3], 12, 99.0), "holds", "12 of 12 sets; the paper's own Table 2 shows 8"),
    (6, on_sets(STANDARD[0], 12, 99.9), "does not hold", "0 of 12"),
    (6, on_sets(STANDARD[0], 6, 99.9), "does not hold", "wins on 4 of 12"),
    (7, {}, "holds", "(1e-2) changes the average of lambda=0 by 1.36"),
    (7, {AVERAGE["lambda=0"]: [60.0, 66.0, 72.0]}, "undecided", "1.78 ± 6.00"),
    (7, {AVERAGE["lambda=1e-4"]: 71.0}, "does not hold", "(1e-4) changes"),
    (8, {}, "holds", "adds 5.07"),
    (8, {("3", "average", "ensemble N=100"): 85.0}, "holds in part", "adds 1.79"),
    (8, {("3", "average", "ensemble N=100"): 83.0}, "does not hold", "adds -0.21"),
    (9, {("4", "average", "pruned 50%"): 88.0}, "holds", "by -0.28"),
    (
        9,
        {},
        "holds in part",
        "4.05 points below its own unpruned 88.28% (Table 3) and near its 83.21",
    ),
    (9, {("unpruned", "original test", "ensemble N=100"): 99.4}, "does not hold", "by -1.91"),
    (10, {}, "holds", "differs from the best standard one (lambda=1e-2) by 8.81 ± 0.00"),
    (10, {("4", "average", "pruned 75%"): 70.0}, "holds in part", "by 2.22"),
    (10, {("4", "average", "pruned 75%"): 60.0}, "does not hold", "by -7.78"),
    (11, {}, "holds", "of the 15.44 ± 0.00 points over the best standard network, 8.22 ± 0.00 are"),
    (11, {MEAN_WEIGHTS: 89.7}, "holds in part", "-6.48 ± 0.00 against its own mean weights"),
    (11, {BOTH: 84.3}, "holds in part", "'plain, both'"),
    (11, {BOTH: 84.3, MEAN_WEIGHTS: 89.7}, "does not hold", "-1.08"),
    (11, {AVERAGE["lambda=1"]: 90.0}, "does not hold", "of the -6.78"),
]


@pytest.mark.parametrize(("number", "changes", "answer", "reason"), CASES)
def test_a_claim_comes_out_as_its_cells_say(
    number: int, changes: Changes, answer: str, reason: str
) -> None:
    check(judge(number, changes), f"BWS-{number}", answer, reason)


def test_every_claim_is_tried_every_way() -> None:
    assert tried_every_way({(number, answer) for number, _, answer, _ in CASES}, 11)


@pytest.mark.parametrize("number", range(1, 12))
def test_another_profile_is_said(number: int) -> None:
    assert judge(number, profile="laptop").reason.startswith("At profile laptop, ")


def test_one_seed_cannot_exceed_a_spread() -> None:
    verdict = judge(4, seeds=1)
    assert verdict.answer == "holds in part"
    assert "one seed, so its spread is unknown" in verdict.reason


def test_the_strongest_plain_control_counts() -> None:
    stronger = ("controls", "plain, both, matched targets", "average over 12 sets")
    assert "'plain, both, matched targets'" in judge(11, {stronger: 80.0}).reason


@pytest.mark.parametrize(
    ("number", "missing"),
    [
        (1, CLEAN[3]),
        (3, ("distortion", SETS[4], "mean distortion")),
        (6, ("2", SETS[0], STANDARD[1])),
        (9, ("unpruned", "original test", "ensemble N=100")),
        (11, BOTH),
        (11, MEAN_WEIGHTS),
    ],
)
def test_a_missing_cell_is_named(number: int, missing: Key) -> None:
    verdict = judge(number, {missing: []})
    assert verdict.answer == "not run"
    assert verdict.reason == f"Not measured yet: table {', '.join(missing)}."


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (2, "table 1: 3 of the 11 networks (standard lambda=1e-4, standard lambda=1e-2, standard"),
        (3, "table distortion: 10 of the 12 perturbation sets (FC-10 lambda=1e-4, ...)."),
        (6, "sets (FC-10 lambda=1e-4, ...) and 3 of the 11 networks (standard lambda=1e-4"),
        (7, "table 2: 3 of the 4 networks"),
    ],
)
def test_many_missing_cells_are_summed_up(number: int, reason: str) -> None:
    there = {"FC-10 lambda=0", "FC-200-200-10 lambda=0", "test", "average"}
    cells = {(c["table"], c["row"], c["column"]) for c in published(PAPER)} | OWN.keys()
    few = [key for key in cells if key[1] not in there or key[2] in STANDARD[1:]]
    verdict = judge(number, {key: [] for key in few})
    assert verdict.answer == "not run"
    assert verdict.reason.startswith("Not measured yet in table ")
    assert reason in verdict.reason


def test_rows_of_two_profiles_are_refused() -> None:
    rows = [row(PAPER, CLEAN[0], 97.0, 0, profile) for profile in ("laptop", "paper")]
    with pytest.raises(ValueError, match="not of laptop and paper"):
        verdicts(PAPER, rows)


def test_names_are_those_of_the_published_tables() -> None:
    cells = {(c["table"], c["row"], c["column"]) for c in published(PAPER)}
    assert {("2", s, c) for s in (*SETS, "average") for c in (*BAYESIAN, *STANDARD)} == {
        cell for cell in cells if cell[0] == "2"
    }
    assert len(RHOS) == 7
