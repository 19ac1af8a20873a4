"""The machinery of verdicts: quantities pair their seeds, what is missing is said."""

import pytest

from robustnb.results import claims, papers
from robustnb.verdicts import NotMeasured, Quantity, verdicts


def test_a_difference_pairs_the_seeds() -> None:
    difference = Quantity({0: 5.0, 1: 7.0, 2: 1.0}) - Quantity({1: 4.0, 0: 1.0})
    assert difference.by_seed == {0: 4.0, 1: 3.0}
    assert difference.mean == 3.5
    assert difference.spread == pytest.approx(0.5**0.5)
    assert str(difference) == "3.50 ± 0.71"


def test_one_seed_has_no_spread() -> None:
    assert Quantity({3: 1.0}).spread is None
    assert str(Quantity({3: 1.0})) == "1.00"


def test_quantities_without_a_common_seed_cannot_be_compared() -> None:
    with pytest.raises(NotMeasured, match="same seed"):
        Quantity({0: 1.0}) - Quantity({1: 1.0})


@pytest.mark.parametrize("paper", papers())
def test_without_rows_every_claim_is_not_run(paper: str) -> None:
    found = verdicts(paper, [])
    assert [v.id for v in found] == [row["id"] for row in claims(paper)]
    assert [v.claim for v in found] == [row["claim"] for row in claims(paper)]
    assert {v.answer for v in found} == {"not run"}
    assert all(v.reason.endswith(".") for v in found)
