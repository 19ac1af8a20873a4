"""Exact verification: brute force over activation patterns, the relaxation's program, the order."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from certifiable import batch, convolutional, corners, dense, points
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import PGD
from robustnb.certificates import crown, exact, intervals
from robustnb.certificates.exact import TOLERANCE
from robustnb.metrics import margin
from robustnb.models import predict
from robustnb.randomness import seeded

TIGHT = 20 * TOLERANCE


def matrices(model: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the weights and biases of a dense network, whose first ones take in the scale of 2."""
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    found = [(x.weight.detach().double().numpy(), x.bias.detach().double().numpy()) for x in linear]
    return [(2 * found[0][0], found[0][1]), *found[1:]]


def ends(image: Tensor, eps: float) -> list[tuple[float, float]]:
    pixels = image.double().flatten().numpy()
    return list(zip((pixels - eps).clip(0, 1), (pixels + eps).clip(0, 1), strict=True))


def brute_force(model: nn.Sequential, image: Tensor, label: int, eps: float) -> float:
    """Return the smallest margin over all patterns of units on and off: a linear program each.

    Where a pattern is given the network is linear, and the pattern is given by linear inequalities.
    """
    *inner, (last, last_bias) = matrices(model)
    sizes, least = [len(bias) for _, bias in inner], np.inf
    for pattern in product((0.0, 1.0), repeat=sum(sizes)):
        weight, bias = np.eye(image.numel()), np.zeros(image.numel())
        rows, limits = [], []
        for (w, b), on in zip(
            inner, np.split(np.array(pattern), np.cumsum(sizes)[:-1]), strict=True
        ):
            weight, bias = w @ weight, w @ bias + b
            sign = 1 - 2 * on  # on: -z <= 0
            rows.append(sign[:, None] * weight)
            limits.append(-sign * bias)
            weight, bias = on[:, None] * weight, on * bias
        weight, bias = last @ weight, last @ bias + last_bias
        for other in set(range(len(bias))) - {label}:
            found = linprog(
                weight[label] - weight[other],
                A_ub=np.concatenate(rows),
                b_ub=np.concatenate(limits),
                bounds=ends(image, eps),
            )
            if found.status == 0:
                least = min(least, found.fun + bias[label] - bias[other])
    return least


def relaxed(
    model: nn.Sequential, image: Tensor, label: int, eps: float, boxes: list
) -> list[float]:
    """Return the least margins over each class of the triangle relaxation, by linear programming.

    Between the bounds of its input a ReLU is any point of the triangle 0, z and the line above.
    `boxes` (lower, upper) bound the inputs of each layer of ReLUs.
    """
    *inner, (last, last_bias) = matrices(model)
    starts = np.cumsum([image.numel(), *(len(bias) for _, bias in inner)])
    total, first = starts[-1], [0, *starts[:-1]]
    places = [slice(a, b) for a, b in zip(first, starts, strict=True)]
    rows, limits, bounds = [], [], ends(image, eps)
    for (w, b), (before, after), (low, high) in zip(inner, pairwise(places), boxes, strict=True):
        for unit in range(len(b)):
            z, y = np.zeros(total), np.zeros(total)
            z[before], y[after.start + unit] = w[unit], 1
            lower, upper = low[unit], high[unit]
            rows += [z - y, z, -z]
            limits += [-b[unit], upper - b[unit], b[unit] - lower]
            slope = max(upper, 0) / max(max(upper, 0) - min(lower, 0), 1e-300)
            rows.append(y - slope * z)
            limits.append(slope * (b[unit] - min(lower, 0)) if lower < 0 else b[unit])
            bounds.append((0, max(upper, 0)))
    found = []
    for other in range(len(last_bias)):
        costs = np.zeros(total)
        costs[places[-1]] = last[label] - last[other]
        solved = linprog(costs, A_ub=np.array(rows), b_ub=np.array(limits), bounds=bounds)
        assert solved.status == 0
        found.append(solved.fun + last_bias[label] - last_bias[other])
    return found


@settings(max_examples=10)
@given(
    widths=st.sampled_from([(4,), (2, 2), (1, 3), (2, 1, 2)]),
    eps=st.floats(0, 0.6),
    gain=st.floats(0.5, 4),
    seed=st.integers(0, 99),
)
def test_it_is_the_brute_force_over_activation_patterns(
    widths: tuple[int, ...], eps: float, gain: float, seed: int
) -> None:
    model = dense(4, *widths, 3, seed=seed, gain=gain)
    images, labels = batch(model, 1, 2, 2, count=2, seed=seed)
    labels[1] = (labels[1] + 1) % 3  # an image that is misread already
    margins, _ = exact.smallest_margin(model, images, labels, eps)
    for image, label, found in zip(images, labels.tolist(), margins.tolist(), strict=True):
        expected = brute_force(model, image, label, eps)
        assert found == pytest.approx(expected, abs=TIGHT * (1 + abs(expected)))


def test_the_point_lies_within_eps_and_has_the_margin() -> None:
    model = dense(12, 6, 6, 3, gain=2.0)
    images, labels = batch(model, 3, 2, 2)
    margins, found = exact.smallest_margin(model, images, labels, 0.15)
    assert found.shape == images.shape
    assert margins.dtype == found.dtype == torch.float64
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert ((found - images.double()).abs() <= 0.15 + 1e-12).all()
    logits = predict(dense(12, 6, 6, 3, gain=2.0).double(), found)
    torch.testing.assert_close(-margin(logits, labels), margins)
    assert torch.equal(exact.certified(model, images, labels, 0.15), margins > TOLERANCE)


@pytest.mark.parametrize("eps", [0.05, 0.15])
def test_attacks_the_exact_margin_crown_and_intervals_stand_in_this_order(eps: float) -> None:
    model = dense(12, 8, 8, 4, gain=2.0)
    images, labels = batch(model, 3, 2, 2)
    model, images = model.double(), images.double()
    truth, _ = exact.smallest_margin(model, images, labels, eps)
    tight = crown.smallest_margin(model, images, labels, eps)
    loose = intervals.smallest_margin(model, images, labels, eps)
    for attack in (
        PGD(eps, eps / 4, 20, restarts=3, loss="margin"),
        APGD(eps, 30, loss="margin", early_stop=False),
    ):
        attacked = -margin(predict(model, attack(model, images, labels, seeded(0))), labels)
        assert (attacked >= truth - TIGHT).all()
        assert (attacked - truth).median() < 0.05  # neither is far off
    assert (truth >= tight - 1e-10).all()
    assert (tight >= loose - 1e-10).all()
    assert (truth > tight + 0.001).any()
    assert (tight > loose + 0.001).any()


def test_no_random_point_has_a_smaller_margin() -> None:
    model = dense(4, 6, 6, 3, gain=3.0)
    images, labels = batch(model, 1, 2, 2, count=5)
    truth, _ = exact.smallest_margin(model, images, labels, 0.2)
    drawn = points(images, 0.2, 2_000)
    logits = predict(model.double(), drawn.flatten(0, 1)).unflatten(0, drawn.shape[:2])
    for index, label in enumerate(labels):
        found = -margin(logits[:, index], label.expand(2_000))
        assert (found >= truth[index] - TIGHT).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_triangle_relaxation_lies_between_crown_and_the_truth(seed: int) -> None:
    """CROWN is a feasible point of its dual program, and the network a point of the relaxation."""
    model, eps = dense(6, 6, 5, 3, seed=seed, gain=2.0), 0.1
    images, labels = batch(model, 1, 2, 3, count=4, seed=seed)
    tight = crown.margin_bounds(model, images, labels, eps)
    truth, _ = exact.smallest_margin(model, images, labels, eps)
    layers = crown.layer_bounds(model, images, eps)
    relus = [layers[i] for i, layer in enumerate(model) if isinstance(layer, nn.ReLU)]
    for index, label in enumerate(labels.tolist()):
        boxes = [(b.lower[index].numpy(), b.upper[index].numpy()) for b in relus]
        found = torch.tensor(relaxed(model, images[index], label, eps, boxes), dtype=torch.float64)
        assert (found >= tight[index] - 1e-7).all()
        others = [other for other in range(3) if other != label]
        assert found[others].min() <= truth[index] + TIGHT


def test_a_linear_network_has_its_smallest_margin_at_a_corner() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    images, labels = batch(model, 1, 2, 3, count=4)
    margins, _ = exact.smallest_margin(model, images, labels, 0.3)
    for image, label, found in zip(images, labels, margins, strict=True):
        with torch.no_grad():
            logits = model.double()(corners(image[None], 0.3))
        expected = -margin(logits, label.expand(len(logits))).amax()
        torch.testing.assert_close(found, expected, rtol=0, atol=TIGHT)


def test_it_takes_convolutions_and_average_pools() -> None:
    model = convolutional()
    images, labels = batch(model, 2, 6, 6, count=3)
    margins, found = exact.smallest_margin(model, images, labels, 0.02)
    assert found.shape == images.shape
    tight = crown.smallest_margin(model, images, labels, 0.02)
    attack = PGD(0.02, 0.005, 20, restarts=2, loss="margin")
    model, images = model.double(), images.double()
    attacked = -margin(predict(model, attack(model, images, labels, seeded(0))), labels)
    assert (margins >= tight - 1e-10).all()
    assert (attacked >= margins - TIGHT).all()


def test_no_images_and_no_radius() -> None:
    model = dense(4, 3, 3)
    images, labels = batch(model, 1, 2, 2)
    margins, found = exact.smallest_margin(model, images[:0], labels[:0], 0.1)
    assert (margins.shape, found.shape) == ((0,), (0, 1, 2, 2))
    margins, found = exact.smallest_margin(model, images, labels, 0.0)
    torch.testing.assert_close(margins, -margin(predict(model.double(), images.double()), labels))
    assert torch.equal(found, images.double())


def test_what_takes_too_long_or_is_not_taken_is_named() -> None:
    model = dense(12, 30, 30, 30, 10, gain=3.0)
    images, labels = batch(model, 3, 2, 2, count=1)
    with pytest.raises(TimeoutError, match=r"not solved in 0\.01 seconds: allow more"):
        exact.certified(model, images, labels, 0.5, seconds=0.01)
    with pytest.raises(ValueError, match="seconds is 0"):
        exact.certified(model, images, labels, 0.5, seconds=0)
    pooled = convolutional(nn.MaxPool2d(2, stride=1))
    with pytest.raises(ValueError, match="has a MaxPool2d: this bound takes"):
        exact.certified(pooled, torch.rand(1, 2, 6, 6), torch.tensor([0]), 0.1)
