"""For a threshold unit the pathwise gradient is 0 and the slope of the mean is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from robustnb.papers.noise_optimization.threshold import threshold_slopes


@given(st.floats(-2, 2), st.floats(0.3, 2))
def test_the_exact_slope_is_that_of_the_mean(pre_activation: float, sigma: float) -> None:
    found = threshold_slopes(pre_activation, sigma, draws=10)
    above, below = (norm.cdf(pre_activation / (sigma + move)) for move in (1e-5, -1e-5))
    assert found.exact == pytest.approx((above - below) / 2e-5, abs=1e-6)


@pytest.mark.parametrize("pre_activation", [-1.0, 0.5, 1.0])
def test_the_pathwise_gradient_is_0_where_the_mean_falls_or_rises(pre_activation: float) -> None:
    pathwise, differences, exact = threshold_slopes(pre_activation)
    assert pathwise == 0
    assert abs(exact) > 0.1
    assert differences == pytest.approx(exact, abs=0.01)
