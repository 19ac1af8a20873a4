"""The best network and its lead, on rows made by hand."""

import pytest
from hand_made import row

from robustnb.papers.bayesian_weight_sampling import margins
from robustnb.quantities import Quantity
from robustnb.stored import Stored

PAPER = "bayesian-weight-sampling"
FOUND = {
    "bayesian rho_init=-3": Quantity({0: 80.0, 1: 84.0}),
    "bayesian rho_init=-30": Quantity({0: 83.0, 1: 79.0}),
    "standard lambda=0": Quantity({0: 60.0, 1: 62.0}),
    "standard lambda=1": Quantity({0: 70.0, 1: 73.0}),
}


def test_controls_are_averages_over_the_sets() -> None:
    cells = {("plain, both", "test"): 99.0, ("plain, both", "average over 2 sets"): 70.0}
    rows = [row(PAPER, ("controls", *names), value, 0, "smoke") for names, value in cells.items()]
    assert {n: found.mean for n, found in margins.controls(Stored(PAPER, rows)).items()} == {
        "plain, both": 70.0
    }


def test_the_best_of_a_kind_has_the_highest_mean() -> None:
    assert margins.best("bayesian", FOUND) == "bayesian rho_init=-3"
    assert margins.best("standard", FOUND) == "standard lambda=1"


def test_the_lead_is_paired_by_seed() -> None:
    assert margins.lead(FOUND).by_seed == {0: 10.0, 1: 11.0}


def test_the_best_at_worst_is_the_largest_of_the_least() -> None:
    values = {
        ("PGD EOT=1", "bayesian a"): 30.0,
        ("PGD EOT=10", "bayesian a"): 5.0,
        ("PGD EOT=1", "bayesian b"): 20.0,
        ("PGD EOT=10", "bayesian b"): 10.0,
        ("PGD EOT=10, ensemble N=5", "bayesian b"): 1.0,
        ("PGD EOT=1", "standard a"): 40.0,
    }
    rows = [row(PAPER, ("white-box", *names), value, 0, "paper") for names, value in values.items()]
    found = margins.best_at_worst("bayesian", rows)
    assert (found["row"], found["column"]) == ("PGD EOT=10", "bayesian b")
    assert margins.best_at_worst("standard", rows)["value"] == pytest.approx(40.0)
