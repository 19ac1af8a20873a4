"""Quantities pair their seeds, and know the shares of images that they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robustnb.intervals import Share, over_images
from robustnb.quantities import NotMeasured, Quantity, Undecided, cases, mean


def share(place: str, value: float, images: int = 50) -> Quantity:
    """Return what one seed measured of some images, in percent."""
    return Quantity({0: 100 * value}, (Share(place, 100, value, images),))


def test_a_difference_pairs_the_seeds() -> None:
    difference = Quantity({0: 5.0, 1: 7.0, 2: 1.0}) - Quantity({1: 4.0, 0: 1.0})
    assert difference.by_seed == {0: 4.0, 1: 3.0}
    assert difference.mean == 3.5
    assert difference.spread == pytest.approx(0.5**0.5)
    assert str(difference) == "3.50 ± 0.71"


def test_a_ratio_pairs_the_seeds() -> None:
    assert (Quantity({0: 6.0, 1: 8.0}) / Quantity({1: 4.0, 2: 1.0})).by_seed == {1: 2.0}


def test_numbers_are_added_and_multiplied() -> None:
    quantity = (share("a", 0.5) - 10) * -2
    assert quantity.by_seed == {0: -80.0}
    assert quantity.shares == (Share("a", -200, 0.5, 50),)


def test_one_seed_has_no_spread() -> None:
    assert Quantity({3: 1.0}).spread is None
    assert str(Quantity({3: 1.0})) == "1.00"


def test_quantities_without_a_common_seed_cannot_be_compared() -> None:
    with pytest.raises(NotMeasured, match="same seed"):
        Quantity({0: 1.0}) - Quantity({1: 1.0})


@given(st.lists(st.tuples(*[st.floats(-100, 100)] * 2), min_size=2, max_size=6))
def test_the_interval_of_a_difference_is_that_of_the_paired_test(
    pairs: list[tuple[float, float]],
) -> None:
    one, other = (Quantity(dict(enumerate(values))) for values in zip(*pairs, strict=True))
    low, high = (one - other).interval(0.9)
    if len({round(a - b, 6) for a, b in pairs}) > 1:
        found = stats.ttest_rel(*zip(*pairs, strict=True)).confidence_interval(0.9)
        assert (low, high) == pytest.approx((found.low, found.high), abs=1e-5, rel=1e-5)


def test_one_seed_has_its_interval_over_images() -> None:
    one, other = share("a", 0.8, 70), share("b", 0.6, 80)
    found = (one - other).interval()
    weighted = [Share("a", 100, 0.8, 70), Share("b", -100, 0.6, 80)]
    assert found == pytest.approx(over_images(20, weighted))


def test_a_share_that_is_taken_away_again_is_gone() -> None:
    one, other = share("a", 0.8), share("b", 0.6)
    low, high = (one - other + other).interval()
    assert (low, high) == pytest.approx(tuple(one.interval()))


def test_the_mean_of_the_same_is_the_same() -> None:
    found = mean([share("a", 0.8)] * 3)
    assert found.mean == pytest.approx(80)
    assert tuple(found.interval()) == pytest.approx(tuple(share("a", 0.8).interval()))


def test_an_interval_that_there_is_not_is_undecided() -> None:
    with pytest.raises(Undecided, match=r"^one seed, of what is no share of images$"):
        Quantity({0: 3.0}).interval()
    with pytest.raises(Undecided, match=r"^2 seeds, where the rule asks for 3$"):
        Quantity({0: 3.0, 1: 4.0}).interval(fewest=3)


def test_cases_that_are_open_say_why_unless_all_are_missing() -> None:
    there = {"a": Quantity({0: 1.0})}

    def find(name: str) -> Quantity:
        if name == "learned too little":
            raise Undecided(name)
        if name not in there:
            raise NotMeasured(f"Not measured yet: {name}.")
        return there[name]

    found = cases(find, {"first": ("a",), "second": ("b",)})
    assert found["first"] == there["a"]
    assert str(found["second"]) == "Not measured yet: b."
    with pytest.raises(NotMeasured, match=r"^Not measured yet: b\.$"):
        cases(find, {"second": ("b",), "third": ("c",)})
    assert set(cases(find, {"second": ("b",), "other": ("learned too little",)})) == {
        "second",
        "other",
    }
