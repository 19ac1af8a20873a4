"""Theorems 1 and 2 of Xiao, Zhang & Peng (2021) on the paper's own networks, and where they end."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.defenses.noise import GaussianNoise, noise_layers
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization import theorems
from robustnb.papers.noise_optimization.networks import cnn, mlp, resnet18
from robustnb.papers.noise_optimization.training import Trained
from robustnb.randomness import initial_weights, noise_from, seeded

NETWORKS = {
    "MLPN ReLU": lambda: mlp("ReLU", "learned", in_features=64, hidden=(12, 8)),
    "MLPN Sigmoid": lambda: mlp("Sigmoid", "learned", in_features=64, hidden=(12, 8)),
    "CNN-AN": lambda: cnn("learned", image_shape=(1, 8, 8)),
    "ResNet18-AN": lambda: resnet18("learned", image_shape=(1, 8, 8), width=2),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str) -> nn.Sequential:
    """Build a network in double precision whose levels all differ."""
    with initial_weights(0):
        model = NETWORKS[name]().double().eval()
    for number, layer in enumerate(noise_layers(model)):
        nn.init.uniform_(layer.sigma, 0.1, 1.0, generator=seeded(number))
    return model


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 1, 8, 8, generator=seeded(0), dtype=torch.float64)
    return images, torch.arange(count) % 10


def summed_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with noise_from(model, seeded(1)):
        return F.cross_entropy(model(images), labels, reduction="sum")


def deltas(model: nn.Module, images: Tensor, labels: Tensor) -> dict[nn.Module, Tensor]:
    """Return the gradient of the summed loss where each layer adds its noise (eq. 2)."""
    found: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
        output.register_hook(lambda delta: found.update({layer: delta}))

    hooks = [layer.register_forward_hook(watch) for layer in noise_layers(model)]
    summed_loss(model, images, labels).backward()
    for hook in hooks:
        hook.remove()
    return found


@every_network
def test_theorem_1_the_gradient_is_delta_times_epsilon(name: str) -> None:
    model, (images, labels), generator = network(name), batch(), seeded(1)
    found = deltas(model, images, labels)
    for layer in noise_layers(model):
        delta = found[layer]
        epsilon = torch.randn(delta.shape, generator=generator, dtype=delta.dtype)
        torch.testing.assert_close(layer.sigma.grad, (delta * epsilon).sum(0))
        z = layer.sigma.detach() * epsilon  # the other form of equation (3)
        torch.testing.assert_close(layer.sigma.grad, (delta * z / layer.sigma.detach()).sum(0))


def test_theorem_1_holds_without_noise_too() -> None:
    """At sigma = 0 the form delta * epsilon still says where the loss is going, z / sigma not."""
    layer = GaussianNoise(3, sigma_init=0.0).double()
    x = torch.randn(5, 3, generator=seeded(0), dtype=torch.float64)
    with noise_from(layer, seeded(1)):
        layer(x).pow(3).sum().backward()
    epsilon = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(layer.sigma.grad, (3 * x**2 * epsilon).sum(0))


def move(model: nn.Module, directions: list[Tensor], step: float) -> None:
    for layer, direction in zip(noise_layers(model), directions, strict=True):
        layer.sigma.data += step * direction


def slope(model: nn.Module, directions: list[Tensor]) -> float:
    """Return the derivative of the loss along a direction through all levels of all layers."""
    pairs = zip(noise_layers(model), directions, strict=True)
    return sum((layer.sigma.grad * direction).sum().item() for layer, direction in pairs)


def random_directions(model: nn.Module) -> list[Tensor]:
    """Return a direction of length 1 for the levels of each layer."""
    shapes, generator = [layer.sigma.shape for layer in noise_layers(model)], seeded(2)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [direction / direction.norm() for direction in drawn]


@every_network
def test_theorem_1_the_gradient_is_a_central_difference(name: str) -> None:
    model, (images, labels), step = network(name), batch(), 1e-6
    directions = random_directions(model)
    summed_loss(model, images, labels).backward()
    move(model, directions, step)
    above = summed_loss(model, images, labels).item()
    move(model, directions, -2 * step)
    below = summed_loss(model, images, labels).item()
    assert slope(model, directions) == pytest.approx((above - below) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("name", ["MLPN ReLU", "MLPN Sigmoid", "CNN-AN"])
def test_theorem_2_the_gradient_is_unbiased(name: str) -> None:
    """All levels rise together; means over chunks, where both sides of a difference share noise."""
    model, step, chunks, size = network(name), 0.02, 20, 100
    images, labels = (one[:1].expand(size, *one.shape[1:]) for one in batch())
    directions = [torch.ones_like(layer.sigma) for layer in noise_layers(model)]
    gradients, differences = [], []
    for chunk in range(chunks):
        model.zero_grad()
        with noise_from(model, seeded(10 + chunk)):
            F.cross_entropy(model(images), labels).backward()
        gradients.append(slope(model, directions))
        around = []
        for change in (step, -2 * step, step):
            move(model, directions, change)
            with torch.no_grad(), noise_from(model, seeded(1000 + chunk)):
                around.append(F.cross_entropy(model(images), labels).item())
        differences.append((around[0] - around[1]) / (2 * step))
    one, other = torch.tensor(gradients), torch.tensor(differences)
    error = ((one.var() + other.var()) / chunks).sqrt()
    assert abs(one.mean() - other.mean()) < 4 * error
    assert one.mean().abs() > 4 * error  # else the test could not fail


@settings(max_examples=10, deadline=None)
@given(v=st.floats(-2, 2), sigma=st.floats(0.1, 2), seed=st.integers(0, 1000))
def test_theorem_2_in_closed_form(v: float, sigma: float, seed: int) -> None:
    """E (v + sigma epsilon)^2 is v^2 + sigma^2, with the derivative 2 sigma."""
    layer, draws = GaussianNoise(1, sigma_init=sigma).double(), 20_000
    with noise_from(layer, seeded(seed)):
        layer(torch.full((draws, 1), v, dtype=torch.float64)).square().mean().backward()
    # 2 (v + sigma epsilon) epsilon has the variance 4 v^2 + 8 sigma^2.
    error = math.sqrt((4 * v**2 + 8 * sigma**2) / draws)
    assert abs(layer.sigma.grad.item() - 2 * sigma) < 5 * error


def test_theorem_2_needs_a_continuous_activation() -> None:
    """A step meets its conditions and breaks it: delta is 0, the derivative is not.

    The activation is differentiable almost everywhere and the mean of sup |delta| is 0. For one
    neuron whose output is the loss, E is Phi(v / sigma), with the derivative -v / sigma^2 phi(v /
    sigma). The proof's mean-value theorem does not hold for a function that jumps.
    """
    v, sigma, draws, step = 0.5, 0.8, 400_000, 0.1
    layer = GaussianNoise(1, sigma_init=sigma).double()
    x = torch.full((draws, 1), v, dtype=torch.float64)

    def losses(change: float) -> Tensor:
        layer.sigma.data += change
        with noise_from(layer, seeded(0)):
            return (layer(x).sign() + 1) / 2

    losses(0.0).mean().backward()
    assert layer.sigma.grad.item() == 0
    differences = (losses(step) - losses(-2 * step)).detach() / (2 * step)
    ends = torch.tensor([v / (sigma + step), v / (sigma - step)], dtype=torch.float64)
    above, below = torch.distributions.Normal(0.0, 1.0).cdf(ends)
    expected = (above - below) / (2 * step)
    error = differences.std() / math.sqrt(draws)
    assert abs(differences.mean() - expected) < 4 * error
    assert expected < -10 * error


# The same two as the table of our own measures them.


def test_delta_times_epsilon_by_hand() -> None:
    """One linear layer: delta = softmax - one-hot, epsilon from the same generator."""
    model, (images, labels) = network("MLPN Sigmoid"), batch(5)
    found = theorems.pathwise(model, (images, labels), seed=3)
    generator = seeded(3)
    noise = [torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (12, 8, 10)]
    with noise_from(model, seeded(3)), torch.no_grad():
        delta = model(images).softmax(1) - F.one_hot(labels, 10)
    torch.testing.assert_close(found[-1], delta * noise[-1])


def test_a_slope_that_is_off_has_a_large_z_score(monkeypatch: pytest.MonkeyPatch) -> None:
    with initial_weights(0):
        trained = Trained(mlp("Sigmoid", "learned"), [], [])
    compared = trained, Images("digits", "at_random", num_images=64), 500, 0
    assert theorems.compare_gradients(*compared).z_score < 5
    right = theorems.pathwise
    monkeypatch.setattr(
        theorems, "pathwise", lambda *args, **seed: [1 + found for found in right(*args, **seed)]
    )
    assert theorems.compare_gradients(*compared).z_score > 10
