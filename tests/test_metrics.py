"""Metrics and pruning on cases that can be done by hand, and against other libraries."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear, bayesian_layers, mean_network
from robustnb.metrics import (
    accuracy,
    distortion,
    entropy,
    expected_calibration_error,
    margin,
    reliability,
    wilson_interval,
)
from robustnb.models import fully_connected, predict
from robustnb.pruning import prune, signal_to_noise


def test_accuracy_margin_distortion_and_entropy_by_hand() -> None:
    logits, labels = torch.tensor([[3.0, 1.0, 2.0], [0.0, 4.0, 5.0]]), torch.tensor([0, 1])
    assert accuracy(logits, labels) == 0.5
    torch.testing.assert_close(margin(logits, labels), torch.tensor([-1.0, 1.0]))
    pixels = torch.tensor([[[[3.0, 4.0], [0.0, 0.0]]]])
    torch.testing.assert_close(distortion(pixels), torch.tensor([2.5]))
    shares = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(entropy(shares), torch.tensor([math.log(2), 0.0]))


def test_calibration_by_hand() -> None:
    """Two images at 0.95, one right; two at 0.55, both right."""
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55])
    probabilities = torch.stack([confidence, 1 - confidence], 1)
    rows = reliability(probabilities, torch.tensor([0, 1, 0, 0]))
    assert [row["accuracy"] for row in rows] == [1.0, 0.5]
    assert [row["share"] for row in rows] == [0.5, 0.5]
    assert expected_calibration_error(rows) == pytest.approx((0.45 + 0.45) / 2)


@given(hits=st.integers(0, 200), misses=st.integers(0, 200))
def test_wilson_interval_is_scipy_s(hits: int, misses: int) -> None:
    total = hits + misses
    if total:
        expected = binomtest(hits, total).proportion_ci(0.95, method="wilson")
        assert wilson_interval(hits / total, total, z=1.9599639845) == pytest.approx(expected)


def bayesian(name: str = "FC-7-3", rho_init: float = -3.0) -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected(
        name, in_features=6, layer=partial(BayesianLinear, rho_init=rho_init)
    ).eval()


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(0, 1))
def test_pruning_removes_the_smallest_ratios_of_the_whole_network(rate: float) -> None:
    model = bayesian()
    with torch.no_grad():
        for layer in bayesian_layers(model):
            layer.rho.uniform_(-4, 0)
    ratios, pruned = signal_to_noise(model), prune(model, rate)
    kept = torch.cat([(layer.mu != 0).flatten() for layer in bayesian_layers(pruned)])
    assert (~kept).sum() == round(rate * len(ratios))
    if kept.any() and not kept.all():
        assert ratios[~kept].max() <= ratios[kept].min()
    # What is removed is exactly 0 on every pass; what is kept is untouched.
    for before, after in zip(bayesian_layers(model), bayesian_layers(pruned), strict=True):
        weights, removed = after.draw(), after.mu == 0
        assert (weights[removed] == 0).all()
        assert torch.equal(after.mu[~removed], before.mu[~removed])
        assert torch.equal(after.rho[~removed], before.rho[~removed])


def test_pruning_twice_is_pruning_once_by_more() -> None:
    model = bayesian()
    twice, once = prune(prune(model, 0.3), 0.6), prune(model, 0.6)
    for one, other in zip(bayesian_layers(twice), bayesian_layers(once), strict=True):
        assert torch.equal(one.mu, other.mu)


def test_a_network_that_was_just_trained_can_be_copied() -> None:
    model = bayesian().train()
    model(torch.rand(2, 1, 2, 3)).sum().backward()
    kept, still = prune(model, 0.0), mean_network(model)
    assert [layer.complexity for layer in bayesian_layers(kept)] == [None, None]
    assert torch.equal(still(torch.ones(1, 1, 2, 3)), still(torch.ones(1, 1, 2, 3)))


def test_a_copy_keeps_a_constant_of_the_network() -> None:
    model = bayesian()
    model.mean = torch.tensor(0.5)
    assert torch.equal(mean_network(model).mean, model.mean)


def test_a_pruned_network_can_be_trained_on() -> None:
    model = prune(bayesian(), 0.5)
    model(torch.rand(2, 1, 2, 3)).square().sum().backward()
    for layer in bayesian_layers(model):
        assert layer.mu.grad.isfinite().all()
        assert (layer.rho.grad[layer.sigma == 0] == 0).all()
        assert layer.rho.grad[layer.sigma > 0].ne(0).any()


def test_pruning_everything_leaves_the_uniform_prediction() -> None:
    logits = predict(prune(bayesian(), 1.0), torch.rand(2, 1, 2, 3))
    assert torch.equal(logits, torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: prune(bayesian(), 1.5), "rate is 1.5"),
        (lambda: wilson_interval(0.5, 0), "num_images is 0"),
        (lambda: wilson_interval(97.5, 1000), "share 97.5"),
        (lambda: prune(fully_connected("FC-3"), 0.5), "no Bayesian layers"),
        (lambda: accuracy(torch.rand(3, 2), torch.zeros(3, 1)), "one label for each row"),
        (lambda: margin(torch.rand(3, 2), torch.zeros(1).long()), "one label for each row"),
        (lambda: reliability(torch.rand(3, 2), torch.zeros(1)), "one label for each row"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
