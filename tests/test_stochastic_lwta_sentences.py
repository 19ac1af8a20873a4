"""What the chapter on stochastic LWTA says of its rows, on rows made by hand."""

from typing import Any

import pytest
from hand_made import row
from scipy import stats

from robustnb.metrics import wilson_interval
from robustnb.papers.stochastic_lwta import sentences
from robustnb.papers.stochastic_lwta.protocols import LWTA, MIXED, REGULAR, SMOOTH_LWTA, TUNED
from robustnb.results import over_seeds
from robustnb.stored import Stored

PAPER = "stochastic-lwta"
ON_LWTA = {"none": 90.0, "PGD, EOT=1": 60.0, "PGD, EOT=50": 40.0, "PGD, mean mask": 8.0}
CELLS = {
    **{("attacks on LWTA", name, LWTA): value for name, value in ON_LWTA.items()},
    ("attacks on LWTA", "worst case", LWTA): 7.0,
    **{("attacks on LWTA", "none", name): 80.0 for name in (SMOOTH_LWTA, TUNED)},
    ("attacks on LWTA", "worst case", SMOOTH_LWTA): 20.0,
    ("attacks on LWTA", "worst case", TUNED): 15.0,
    ("attacks on PNI", "PGD, EOT=50", "noisy"): 10.0,
    ("attacks on PNI", "worst case", "noisy"): 9.0,
    ("coefficients", "epoch 0", "mean"): 0.25,
    ("coefficients", "epoch 1", "mean"): 0.2,
    ("coefficients", "epoch 2", "mean"): 0.125,
    **{
        ("training eps", name, "PGD accuracy"): value
        for name, value in {MIXED: 12.0, TUNED: 16.0, REGULAR: 1.0, LWTA: 30.0}.items()
    },
    ("1", "regular", "PGD accuracy"): 5.0,
    ("certificate", "radius 0", "certified"): 40.0,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "certificate": {"training": {"sigma": 0.25, "side": 16}, "draws": 1_000},
    "1": {"training": {"side": 16, "architecture": "resnet"}},
}


@pytest.fixture
def stored() -> Stored:
    rows = [
        row(PAPER, place, value, 0, "laptop")
        | {"settings": SETTINGS.get(place[0], {}), "num_images": 200, "dataset": "cifar10"}
        for place, value in CELLS.items()
    ]
    return Stored(PAPER, over_seeds(rows))


def test_the_strongest_attack_is_the_one_that_leaves_least(stored: Stored) -> None:
    assert sentences.strongest_attack(stored) == (
        "A single draw's gradients leave 60.0%, EOT=50 leaves 40.0%. The strongest attack is *PGD, "
        "mean mask*: 8.0%. The worst case, image by image, is 7.0%, for PGD adversarial training "
        "15.0%."
    )
    found = sentences.usual_measures(stored, "attacks on LWTA")
    assert "Of 90.0%" in found
    assert "mean mask leaves 8.0%, the worst of all 7.0%" in found


def test_worst_cases_have_their_interval_over_images(stored: Stored) -> None:
    low, high = (100 * end for end in wilson_interval(0.07, 200))
    assert f"*{LWTA}* 7.0% ({low:.0f} to {high:.0f}) of 90.0%" in sentences.worst_cases(stored)
    assert "over 200 images" in sentences.worst_cases(stored)
    assert sentences.worst_of_noise_injection(stored).endswith(": *noisy* 9.0%.")


def test_what_training_changed_is_told(stored: Stored) -> None:
    assert sentences.coefficients(stored).endswith("*mean* from 0.250 to 0.125.")
    found = sentences.after_other_trainings(stored)
    for number in ("12.0%", "16.0%", "1.0%", "30.0%"):
        assert number in found


def test_no_more_can_be_proved_than_if_all_draws_agree(stored: Stored) -> None:
    """The bound is the one-sided one of Clopper and Pearson for 1,000 of 1,000."""
    radius = 0.25 * stats.norm.ppf(0.001 ** (1 / 1_000))
    assert f"more than {radius:.2f} proved" in sentences.provable(stored).replace("have ", "")
    assert f"{8 / 255 * (3 * 16 * 16) ** 0.5:.2f} in L2" in sentences.provable(stored)


def test_the_scale_is_told(stored: Stored) -> None:
    found = sentences.what_is_shown("smoke", stored)
    assert "at profile smoke" in found
    assert "at profile laptop: a resnet on cifar10 at 16×16, 1 seed(s)." in found
