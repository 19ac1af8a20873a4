"""Intervals against scipy and closed forms, and the regions that they lie in."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robustnb.intervals import UNKNOWN, Interval, Region, Share, of_share, over_images, over_seeds

LEVELS = st.floats(0.5, 0.999)
NUMBERS = st.floats(-1e3, 1e3)


@given(st.lists(NUMBERS, min_size=2, max_size=8), LEVELS)
def test_over_seeds_it_is_students(values: list[float], level: float) -> None:
    low, high = over_seeds(values, level)
    mean, error = sum(values) / len(values), stats.sem(values)
    expected = (mean, mean)
    if error:
        expected = stats.t.interval(level, len(values) - 1, loc=mean, scale=error)
    assert (low, high) == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match=r"^An interval over seeds needs two or more, not 1\.$"):
        over_seeds([1.0])


@given(st.integers(1, 1000), st.floats(0, 1), LEVELS)
def test_of_a_share_it_is_wilsons(images: int, share: float, level: float) -> None:
    right = round(share * images)
    expected = stats.binomtest(right, images).proportion_ci(level, method="wilson")
    assert of_share(right / images, images, level) == pytest.approx(tuple(expected), abs=1e-9)


def test_of_two_shares_it_is_newcombes() -> None:
    """56 of 70 minus 48 of 80, an example of Newcombe (1998): 0.0524 to 0.3339 by his method 10."""
    shares = [Share("a", 1, 56 / 70, 70), Share("b", -1, 48 / 80, 80)]
    assert over_images(0.2, shares) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.1, 100), NUMBERS)
def test_of_one_share_it_is_its_own_moved_and_stretched(
    images: int, share: float, weight: float, offset: float
) -> None:
    low, high = of_share(share, images)
    value = weight * share + offset
    found = over_images(value, [Share("a", weight, share, images)])
    assert found == pytest.approx((weight * low + offset, weight * high + offset), abs=1e-6)
    turned = over_images(-value, [Share("a", -weight, share, images)])
    assert turned == pytest.approx((-found[1], -found[0]), abs=1e-6)


def test_intervals_over_images_cover_as_often_as_they_say() -> None:
    """Sum the probabilities of all that may be drawn for which the difference is inside."""
    one, other, images = 0.3, 0.1, 60
    inside = 0.0
    for first, second in product(range(images + 1), repeat=2):
        shares = [Share("a", 1, first / images, images), Share("b", -1, second / images, images)]
        low, high = over_images((first - second) / images, shares)
        if low <= one - other <= high:
            inside += stats.binom.pmf(first, images, one) * stats.binom.pmf(second, images, other)
    assert 0.94 <= inside <= 0.96


@pytest.mark.parametrize(("share", "images"), [(0.5, 0), (-0.1, 10), (1.1, 10), (math.nan, 10)])
def test_what_is_no_share_is_named(share: float, images: int) -> None:
    with pytest.raises(ValueError, match="an interval needs one image or more, and a share"):
        of_share(share, images)


INSIDE, EDGE, OUTSIDE = (True, True), (False, True), (False, False)


@pytest.mark.parametrize(
    ("words", "interval", "covers_and_meets"),
    [
        ("more than 0", (1, 2), INSIDE),
        ("more than 0", (0, 2), EDGE),
        ("more than 0", (-1, 0), OUTSIDE),
        ("at least 0", (0, 2), INSIDE),
        ("at least 0", (-1, 0), EDGE),
        ("less than 1.5", (0, 1.5), EDGE),
        ("less than 1.5", (1.5, 1.5), OUTSIDE),
        ("at most 1/2", (0.5, 0.5), INSIDE),
        ("at most 1/2", (0.6, 0.7), OUTSIDE),
        ("-1.5 to 0", (-1.5, 0), INSIDE),
        ("-1.5 to 0", (-2, 1), EDGE),
        ("-1.5 to 0", (0.1, 1), OUTSIDE),
        ("less than 1e-6", (1e-9, 2e-7), INSIDE),
        ("all", (1, 1), INSIDE),
        ("all", (0.5, 1), EDGE),
        ("all", (0, 0.9), OUTSIDE),
        ("anything", UNKNOWN, INSIDE),
        ("at least 3", UNKNOWN, EDGE),
    ],
)
def test_an_interval_is_inside_or_at_the_edge_or_outside(
    words: str, interval: tuple[float, float], covers_and_meets: tuple[bool, bool]
) -> None:
    region = Region.of(words)
    assert (region.covers(Interval(*interval)), region.meets(Interval(*interval))) == (
        covers_and_meets
    )


@given(NUMBERS, NUMBERS, st.sampled_from(["more than 0", "at most 3", "-1 to 1", "less than 2"]))
def test_what_covers_meets_and_a_number_is_either_in_or_out(a: float, b: float, words: str) -> None:
    region, interval = Region.of(words), Interval(min(a, b), max(a, b))
    assert region.meets(interval) or not region.covers(interval)
    assert region.meets(Interval(a, a)) == region.covers(Interval(a, a)) == (a in region)


@pytest.mark.parametrize("words", ["", "some", "more than", "0 to", "more than half"])
def test_words_that_are_no_region_are_named(words: str) -> None:
    with pytest.raises(ValueError, match=r"is no region: write 'more than 0'"):
        Region.of(words)
