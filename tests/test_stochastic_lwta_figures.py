"""What the chapter on stochastic LWTA draws of its own."""

import pytest
import torch
from drawn import axes_of
from torch import nn
from torch.nn import functional as F

from robustnb.data import load
from robustnb.defenses.lwta import WinnerTakesAll, competitions, winners_by
from robustnb.metrics import accuracy
from robustnb.models import predict
from robustnb.papers.stochastic_lwta.figures import (
    agreement,
    gradient,
    mask_of_a_block,
    small_digits,
    trained_on_digits,
)
from robustnb.randomness import initial_weights, noise_from, seeded


def test_digits_are_the_embedded_ones_shrunk() -> None:
    images, labels = small_digits("test", 5)
    whole, classes = load("mnist-5k", "as_published").split("test")
    assert torch.equal(images, F.avg_pool2d(whole[:5], 2))
    assert torch.equal(labels, classes[:5])


def test_a_network_of_blocks_reads_them() -> None:
    model = trained_on_digits(units=2)
    assert [layer.units for layer in competitions(model)] == [2, 2]
    images, labels = small_digits("test", 100)
    with noise_from(model, seeded(0)):
        assert accuracy(predict(model, images), labels) > 0.85


@pytest.mark.parametrize("temperature", [0.01, 0.67])
def test_the_slope_of_a_mask_is_drawn_where_it_is_steepest(temperature: float) -> None:
    values = torch.tensor([-0.2, 0.5], dtype=torch.float64, requires_grad=True)
    torch.sigmoid((values + 0.2) / temperature).sum().backward()
    steepest, beside = values.grad.tolist()
    drawing = mask_of_a_block(temperature)
    assert f"slope is {steepest:.2g} where the two are equal, and {beside:.2g} at" in drawing.alt
    drawn, mean = axes_of(drawing)[1].lines
    assert max(drawn.get_ydata()) == pytest.approx(steepest, rel=1e-3)
    assert max(mean.get_ydata()) == pytest.approx(0.25)


def blocks() -> nn.Sequential:
    with initial_weights(0):
        hidden = (nn.Linear(14 * 14, 64), WinnerTakesAll(2, "relaxed", 0.01))
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


def test_a_gradient_through_the_mean_mask_is_that_of_the_mean_mask() -> None:
    model, (images, labels) = blocks(), small_digits("test", 3)
    inputs = images.clone().requires_grad_()
    with winners_by(model, "mean"):
        F.cross_entropy(model(inputs), labels, reduction="sum").backward()
    found = gradient(model, images, labels, "mean", 0.67, 1)
    torch.testing.assert_close(found, inputs.grad.flatten(1))


def test_more_warm_draws_agree_better_with_the_mean_mask() -> None:
    alt = agreement(blocks(), *small_digits("test", 10)).alt
    cold, warm = alt.split("; ")
    assert cold.startswith("Cosine with the gradient of the mean mask. temperature 0.01: 1 ")
    cosines = [float(place.split()[1].rstrip(".")) for place in warm.split(": ")[1].split(", ")]
    assert 0 < cosines[0] < cosines[-1] <= 1
