"""Learned noise against the paper's equations written out, autograd and finite differences."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import FGSM
from robustnb.defenses.noise import (
    GaussianNoise,
    NoiseAdam,
    noise_layers,
    noisy_linear,
    with_noise_levels,
)
from robustnb.models import fully_connected, predict
from robustnb.randomness import noise_from, seeded
from robustnb.training import fit

ADAM = partial(torch.optim.Adam, lr=1e-2)


def perceptron(activation: type[nn.Module] = nn.Sigmoid) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (noisy_linear(4, 6, sigma_init=0.7), activation(), noisy_linear(6, 3, sigma_init=0.3))
    return nn.Sequential(*layers).double()


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    noise = GaussianNoise(2, 4, 4, sigma_init=0.5)
    return nn.Sequential(
        *[nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding=1), noise, nn.ReLU()],
        *[nn.Flatten(), noisy_linear(32, 3, sigma_init=0.2)],
    ).double()


def batch(features: int, count: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, features, generator=seeded(0), dtype=torch.float64)
    return x, torch.arange(count) % 3


def loss_of(model: nn.Module, x: Tensor, y: Tensor, seed: int = 1) -> Tensor:
    with noise_from(model, seeded(seed)):
        return F.cross_entropy(model(x), y, reduction="sum")


def test_theorem_1_is_what_back_propagation_gives() -> None:
    """Equations (1) to (3) step by step, with sigmoid' = s (1 - s)."""
    model, (x, y) = perceptron(), batch(4)
    loss_of(model, x, y).backward()
    (first, noise_1), (last, noise_2) = model[0], model[2]
    generator = seeded(1)
    epsilon_1 = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    epsilon_2 = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        hidden = torch.sigmoid(first(x) + noise_1.sigma * epsilon_1)
        v_2 = last(hidden) + noise_2.sigma * epsilon_2
        delta_2 = v_2.softmax(1) - F.one_hot(y, 3)
        delta_1 = hidden * (1 - hidden) * (delta_2 @ last.weight)
    torch.testing.assert_close(noise_2.sigma.grad, (delta_2 * epsilon_2).sum(0))
    torch.testing.assert_close(noise_1.sigma.grad, (delta_1 * epsilon_1).sum(0))
    torch.testing.assert_close(first.weight.grad, delta_1.T @ x)


@pytest.mark.parametrize("model", [perceptron(), convolutional()], ids=["linear", "convolutional"])
def test_gradient_in_sigma_is_a_central_difference(model: nn.Sequential) -> None:
    x, y = batch(4 if isinstance(model[0], nn.Sequential) else 16)
    loss_of(model, x, y).backward()
    step = 1e-6
    for layer in noise_layers(model):
        for place in range(0, layer.sigma.numel(), 5):
            sigma = layer.sigma.data.view(-1)
            around = []
            for move in (step, -2 * step, step):
                sigma[place] += move
                around.append(loss_of(model, x, y).item())
            difference = (around[0] - around[1]) / (2 * step)
            gradient = layer.sigma.grad.view(-1)[place].item()  # type: ignore[union-attr]
            assert gradient == pytest.approx(difference, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU])
def test_theorem_2_the_gradient_is_unbiased(activation: type[nn.Module]) -> None:
    """Mean gradient against the difference of mean losses, whose two sides share their noise."""
    model, draws, step = perceptron(activation), 200_000, 0.02
    x, y = (one.expand(draws, *one.shape[1:]) for one in (batch(4)[0][:1], batch(4)[1][:1]))
    sigma = model[0][1].sigma

    def losses(move: float, seed: int) -> Tensor:
        with torch.no_grad(), noise_from(model, seeded(seed)):
            sigma[2] += move
            found = F.cross_entropy(model(x), y, reduction="none")
            sigma[2] -= move
        return found

    # One sigma per example, to see each example's own gradient.
    own = sigma.detach().expand(draws, 6).clone().requires_grad_()
    generator = seeded(2)
    v = model[0][0](x) + own * torch.randn(draws, 6, generator=generator, dtype=x.dtype)
    with noise_from(model, generator):
        F.cross_entropy(model[2](model[1](v)), y, reduction="sum").backward()
    gradients = own.grad[:, 2]  # type: ignore[index]
    differences = (losses(step, 3) - losses(-step, 3)) / (2 * step)
    error = ((gradients.var() + differences.var()) / draws).sqrt()
    z_score = (gradients.mean() - differences.mean()) / error
    assert abs(z_score) < 4
    assert gradients.mean().abs() > 4 * error  # else the test could not fail


def test_sigma_is_the_standard_deviation_and_each_example_has_its_own_noise() -> None:
    layer = GaussianNoise(3)
    layer.sigma.data = torch.tensor([0.0, 0.5, 2.0])
    noise = layer(torch.zeros(20_000, 3)).detach()
    torch.testing.assert_close(noise.std(0), layer.sigma.detach(), rtol=0.03, atol=0.0)
    assert noise.mean(0).abs().max() < 0.06


def test_noise_at_inference_is_one_argument() -> None:
    x = torch.randn(5, 3)
    on, off = GaussianNoise(3), GaussianNoise(3, at_inference=False)
    assert not torch.equal(off(x), x)
    assert torch.equal(off.eval()(x), x)
    assert not torch.equal(on.eval()(x), x)


def test_fixed_noise_is_not_learned() -> None:
    layer = GaussianNoise(3, trainable=False)
    assert list(layer.sigma) == [1, 1, 1]
    assert not layer.sigma.requires_grad
    assert "sigma" in layer.state_dict()
    with pytest.raises(ValueError, match="no noise to learn"):
        with_noise_levels(nn.Sequential(nn.Linear(3, 3), layer), ADAM)


def test_equation_7_step_by_step() -> None:
    generator, sigma = seeded(0), torch.tensor([0.002, 1.0, 0.5], dtype=torch.float64)
    layer = GaussianNoise(3).double()
    layer.sigma.data.copy_(sigma)
    optimizer = NoiseAdam([layer.sigma], lr=1e-3)
    h, v = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    sizes = torch.tensor([1.0, 1e-5, 1.0], dtype=torch.float64)
    for step in range(1, 11):
        g = torch.rand(3, generator=generator, dtype=torch.float64) * sizes
        layer.sigma.grad = g.clone()
        optimizer.step()
        h, v = 0.9 * h + 0.1 * g, 0.999 * v + 0.001 * g * g
        change = (h / (1 - 0.9**step)) / (v / (1 - 0.999**step) + 1e-8).sqrt()
        sigma = (sigma - 1e-3 * change).abs()
    torch.testing.assert_close(layer.sigma.detach(), sigma)
    assert sigma.min() > 0  # the first was turned round at zero


def test_weights_move_as_without_noise_levels_and_sigmas_by_equation_7() -> None:
    model, (x, y) = perceptron(), batch(4)
    other = copy.deepcopy(model)
    together = with_noise_levels(model, partial(ADAM, weight_decay=0.1), lr=0.05)
    levels = {id(layer.sigma) for layer in noise_layers(other)}
    weights = ADAM([p for p in other.parameters() if id(p) not in levels], weight_decay=0.1)
    sigmas = NoiseAdam([layer.sigma for layer in noise_layers(other)], lr=0.05)
    for seed in range(5):
        together.zero_grad()
        loss_of(model, x, y, seed).backward()
        together.step()
        other.zero_grad()
        loss_of(other, x, y, seed).backward()
        weights.step()
        sigmas.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_schedule_reaches_both_optimizers() -> None:
    together = with_noise_levels(perceptron(), partial(torch.optim.SGD, lr=1.0), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(together, 1, gamma=0.8)
    together.step()
    schedule.step()
    rates = [optimizer.param_groups[0]["lr"] for optimizer in together.optimizers]
    assert rates == pytest.approx([0.8, 0.08])


def test_training_that_was_interrupted_goes_on_to_the_same_noise(tmp_path) -> None:
    x = torch.rand(64, 1, 2, 2, generator=seeded(0))
    data = (x, (x.mean((1, 2, 3)) > 0.5).long())

    def trained(*epochs: int) -> nn.Sequential:
        path = tmp_path / f"{len(epochs)}.safetensors"
        for until in epochs:
            torch.manual_seed(0)
            model = fully_connected("FC-8-2", in_features=4, layer=noisy_linear)
            optimizer = with_noise_levels(model, ADAM, lr=0.01)
            arguments = {"epochs": until, "patience": None, "batch_size": 16, "progress": False}
            fit(model, data, data, optimizer=optimizer, checkpoint=path, **arguments)
        return model

    at_once, in_two = trained(6), trained(3, 6)
    for one, two in zip(at_once.parameters(), in_two.parameters(), strict=True):
        assert torch.equal(one, two)
    assert all((layer.sigma != 1).all() for layer in noise_layers(at_once))


def test_it_draws_from_the_generator_it_is_given_and_can_be_attacked() -> None:
    model = fully_connected("FC-8-3", in_features=4, layer=noisy_linear)
    x, y = torch.rand(5, 1, 2, 2, generator=seeded(0)), torch.arange(5) % 3
    runs = []
    for _ in range(2):
        with noise_from(model, seeded(3)):
            runs.append(predict(model, x))
    assert torch.equal(*runs)
    attacked = [FGSM(0.1, eot_samples=4)(model, x, y, seeded(4)) for _ in range(2)]
    assert torch.equal(*attacked)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: GaussianNoise(3, sigma_init=-1.0), "sigma_init is -1.0"),
        (lambda: GaussianNoise(3)(torch.zeros(2, 3, 4, 4)), r"\(3,\).*\(3, 4, 4\)"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
