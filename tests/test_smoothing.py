"""Randomised smoothing: exact certificates of a linear network, and SciPy's exact tests."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm
from torch import Tensor, nn

from robustnb.defenses import smoothing
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.defenses.smoothing import ABSTAIN, certify, lower_bound
from robustnb.models import predict
from robustnb.randomness import seeded

SIGMA = 0.25


def linear() -> nn.Sequential:
    """Two classes with margin w.x + b, where |w| = 5."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).double()
    model[1].weight.data = torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64)
    model[1].bias.data = torch.tensor([0.5, 0.0], dtype=torch.float64)
    return model


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    """Images, and how far each is from the boundary (positive in class 0)."""
    images = torch.rand(count, 1, 1, 2, generator=seeded(0), dtype=torch.float64)
    logits = predict(linear(), images)
    return images, (logits[:, 0] - logits[:, 1]) / 5


@settings(max_examples=60, deadline=None)
@given(trials=st.integers(1, 5000), share=st.floats(0, 1), alpha=st.floats(1e-6, 0.5))
def test_lower_bound_is_scipy_s_clopper_pearson(trials: int, share: float, alpha: float) -> None:
    k = round(share * trials)
    test = binomtest(k, trials, alternative="greater")
    expected = test.proportion_ci(1 - alpha, method="exact").low
    found = lower_bound(torch.tensor([k]), trials, alpha)
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("p", [0.3, 0.6, 0.99])
def test_lower_bound_is_wrong_no_more_often_than_alpha(p: float) -> None:
    trials, alpha = 200, 0.05
    counts = torch.arange(trials + 1)
    too_high = (lower_bound(counts, trials, alpha) > p).numpy()
    assert binom.pmf(counts.numpy(), trials, p)[too_high].sum() <= alpha


def test_a_linear_network_gets_the_certificate_that_is_exact() -> None:
    """The smoothed network's class has probability Phi(d / sigma) at a distance of d."""
    images, distances = batch()
    classes, radii = certify(linear(), images, SIGMA, n=5_000, generator=seeded(1))
    exact = distances.abs()
    assert torch.equal(classes, (distances < 0).long())
    assert (radii <= exact).all()
    # What the bound leaves when just the expected share of copies stays in the class.
    expected_counts = (5_000 * norm.cdf(exact / SIGMA)).round()
    expected = SIGMA * torch.special.ndtri(
        lower_bound(torch.as_tensor(expected_counts), 5_000, 0.001)
    )
    near = exact < 2.5 * SIGMA
    assert near.sum() >= 6
    torch.testing.assert_close(radii[near], expected[near], rtol=0.1, atol=0.01)


def test_it_abstains_where_the_classes_are_equally_likely() -> None:
    image = torch.tensor([[[[0.5, 0.5]]]], dtype=torch.float64)  # on the boundary
    classes, radii = certify(linear(), image, SIGMA, generator=seeded(0))
    assert (classes.item(), radii.item()) == (ABSTAIN, 0.0)
    assert smoothing.predict(linear(), image, SIGMA, generator=seeded(0)).item() == ABSTAIN


def test_prediction_is_the_side_of_the_boundary() -> None:
    images, distances = batch()
    found = smoothing.predict(linear(), images, SIGMA, generator=seeded(0))
    sure = distances.abs() > 0.3 * SIGMA
    assert torch.equal(found[sure], (distances < 0).long()[sure])
    assert set(found[~sure].tolist()) <= {ABSTAIN, 0, 1}


@settings(max_examples=60, deadline=None)
@given(first=st.integers(0, 500), second=st.integers(0, 500))
def test_a_tie_is_judged_by_scipy_s_binomial_test(first: int, second: int) -> None:
    high, low = max(first, second), min(first, second)
    if high == 0:
        return
    expected = binomtest(high, high + low, 0.5).pvalue
    found = smoothing._tie_probability(torch.tensor([high]), torch.tensor([low])).item()
    assert min(found, 1.0) == pytest.approx(expected, rel=1e-9)


def test_noise_comes_from_the_generator_and_the_network_stays_as_it_was() -> None:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(2, 4), WinnerTakesAll(), nn.Linear(4, 3), nn.Dropout()]
    model, (images, _) = nn.Sequential(*layers).double().train(), batch(3)
    first, second = (certify(model, images, 0.1, n=50, generator=seeded(2)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_draw_counts_whatever_the_batch() -> None:
    images, _ = batch(2)
    for draws, batch_size in ((1, 10), (10, 10), (25, 10), (7, 1)):
        counts = smoothing._counts(linear(), images, SIGMA, draws, seeded(0), batch_size)
        assert counts.shape == (2, 2)
        assert (counts.sum(1) == draws).all()


def test_nothing_is_certified_about_nan() -> None:
    model, (images, _) = linear(), batch(2)
    model[-1].weight.data.fill_(torch.nan)
    for call in (certify, smoothing.predict):
        with pytest.raises(ValueError, match="logits are NaN"):
            call(model, images, SIGMA)


def test_no_images_have_no_certificates() -> None:
    images, _ = batch(2)
    classes, radii = certify(linear(), images[:0], SIGMA)
    assert classes.shape == radii.shape == (0,)
    assert smoothing.predict(linear(), images[:0], SIGMA).shape == (0,)


def test_images_of_another_scale_and_networks_of_one_output_are_refused() -> None:
    images, _ = batch(2)
    one = nn.Sequential(nn.Flatten(), nn.Linear(2, 1)).double()
    for call in (certify, smoothing.predict):
        with pytest.raises(ValueError, match=r"^pixels range from .* they must be in \[0, 1\]"):
            call(linear(), 255 * images, SIGMA)
        with pytest.raises(ValueError, match=r"^the network returns one number\b"):
            call(one, images, SIGMA)


def test_a_network_that_draws_globally_or_works_in_place_has_one_certificate() -> None:
    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.add_(0.1 * torch.randn_like(images))

    (images, _), model = batch(3), nn.Sequential(Noisy(), linear())
    original, state = images.clone(), torch.get_rng_state()
    first, again = (certify(model, images, 0.1, n=100, generator=seeded(2)) for _ in range(2))
    assert torch.equal(first[1], again[1])
    assert torch.equal(images, original)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"n": 0}, "n is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"alpha": 1.0}, "alpha is 1.0"),
    ],
)
def test_wrong_input_is_named(change: dict, named: str) -> None:
    images, _ = batch(2)
    for call in (certify, smoothing.predict):
        with pytest.raises(ValueError, match=named):
            call(linear(), images, **({"sigma": SIGMA} | change))
