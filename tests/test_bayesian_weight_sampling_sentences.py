"""What the chapter on Bayesian weights says of its rows, on rows made by hand."""

import math

import torch
from hand_made import row

from robustnb.papers.bayesian_weight_sampling import sentences
from robustnb.results import over_seeds
from robustnb.stored import Stored

PAPER, OVER = "bayesian-weight-sampling", "average over 2 sets"
CELLS = {
    ("2", "average", "bayesian rho_init=-3"): [80.0, 82.0],
    ("2", "average", "bayesian rho_init=-30"): [74.0, 76.0],
    ("2", "average", "standard lambda=0"): [60.0, 62.0],
    ("2", "average", "standard lambda=1e-2"): [70.0, 72.0],
    ("1", "test", "standard lambda=0"): [98.0, 98.0],
    ("controls", "plain, both", OVER): [78.0, 79.0],
    ("controls", "plain, variational initialisation", OVER): [71.0, 71.0],
    ("controls", "mean weights", OVER): [81.0, 83.0],
    ("controls", "mean weights, rho_init=-30", OVER): [75.0, 75.0],
    ("controls", "plain, both", "test"): [99.0, 99.0],
    ("matched targets", "bayesian rho_init=-3", OVER): [50.0, 50.0],
    ("matched targets", "plain, both", OVER): [45.0, 45.0],
    ("attack step", "0.1", "bayesian rho_init=-3"): [50.0, 50.0],
    ("attack step", "0.1", "standard lambda=0"): [46.0, 46.0],
    ("attack step", "0.2", "bayesian rho_init=-3"): [30.0, 30.0],
    ("attack step", "0.2", "standard lambda=0"): [33.5, 33.5],
    ("white-box", "PGD", "bayesian rho_init=-3"): [10.0, 10.0],
    ("white-box", "PGD", "standard lambda=0"): [20.0, 20.0],
    ("worst case", "worst case", "standard lambda=0"): [1.0, 2.0],
    ("other kind", OVER, "standard lambda=0"): [90.0, 88.0],
}


def stored() -> Stored:
    rows = [
        row(PAPER, place, value, seed, "paper")
        for place, values in CELLS.items()
        for seed, value in enumerate(values)
    ]
    return Stored(PAPER, over_seeds(rows))


def test_leads_are_those_over_the_best_of_each_kind() -> None:
    assert sentences.lead(stored()).startswith(
        "The best Bayesian network is 10.0 points above the best ordinary one; the network without "
        "noise is 4.0"
    )
    found = sentences.lead_over_controls(stored())
    assert "best plain network (standard lambda=1e-2) is 10" in found
    assert "strongest control (plain, both) 2.5" in found
    assert "its own mean weights -1" in found
    assert "(2 seeds, paired)" in found


def test_noise_is_worth_what_lies_between_the_controls() -> None:
    found = sentences.worth_of_noise(stored())
    assert "training with noise is worth 7" in found
    assert "and 3.5" in found
    assert "asking with noise is worth -1" in found


def test_other_attacks_are_told_with_their_own_leads() -> None:
    assert "*plain, both* 5" in sentences.lead_at_matched_targets(stored())
    assert "4.0 at 0.1, -3.5 at 0.2" in sentences.lead_by_step(stored())
    assert "standard lambda=0 keeps 20.0%" in sentences.best_at_their_worst(stored())
    found = sentences.at_worst(stored())
    assert "standard lambda=0 1.5%" in found
    assert found.count("keeps 71.0%") == 2  # the control, and the best plain network
    assert "*standard lambda=0* 9" in sentences.below_clean(stored())


def test_entropies_are_means_over_right_and_wrong_answers() -> None:
    sure, torn = [1.0, 0.0], [0.5, 0.5]
    answers = {"one": torch.tensor([sure, sure, torn, torn])}
    found = sentences.entropies(answers, torch.tensor([0, 0, 1, 1]))
    assert f"one 0.00 and {math.log(2):.2f}" in found
