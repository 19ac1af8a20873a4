"""Parametric noise injection against the closed form of its gradient, moments and plain layers."""

import copy
from functools import partial

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import PGD
from robustnb.defenses.pni import (
    ParametricNoise,
    Per,
    PNIConv2d,
    PNILinear,
    Where,
    coefficients,
    parameter_groups,
)
from robustnb.models import fully_connected, predict
from robustnb.randomness import noise_from, seeded

LINEAR, CONVOLUTION = "linear", "convolution"
SHAPES = {LINEAR: (5, 6), CONVOLUTION: (5, 2, 6, 6)}
CHOICES = [
    (kind, per, where)
    for kind in (LINEAR, CONVOLUTION)
    for per in ("layer", "channel", "element")
    for where in ("weights", "activations", "both")
    if where == "weights" or (kind, per) != (CONVOLUTION, "element")
]
every_kind = pytest.mark.parametrize("kind", [LINEAR, CONVOLUTION])
every_choice = pytest.mark.parametrize(("kind", "per", "where"), CHOICES)
# With both, the noise of the weights moves the outputs' std, which is a constant to autograd.
one_place = pytest.mark.parametrize(
    ("kind", "per", "where"), [choice for choice in CHOICES if choice[2] != "both"]
)


def layer(kind: str, per: Per = "layer", where: Where = "weights", **more: float) -> nn.Module:
    torch.manual_seed(0)
    if kind == LINEAR:
        return PNILinear(6, 4, per=per, where=where, **more).double()
    made = PNIConv2d(2, 4, 3, per=per, where=where, stride=2, padding=1, **more)
    return made.double()


def plain(noisy: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(noisy, PNILinear):
        return F.linear(x, weight, noisy.bias)
    return F.conv2d(x, weight, noisy.bias, stride=2, padding=1)


def inputs(kind: str) -> Tensor:
    return torch.randn(SHAPES[kind], generator=seeded(0), dtype=torch.float64)


def run(noisy: nn.Module, x: Tensor, seed: int = 1) -> Tensor:
    with noise_from(noisy, seeded(seed)):
        return noisy(x)


def standard(like: Tensor, seed: int = 1) -> Tensor:
    return torch.randn(like.shape, generator=seeded(seed), dtype=like.dtype)


@every_kind
@pytest.mark.parametrize("per", ["layer", "channel", "element"])
def test_gradient_in_alpha_is_that_in_the_weights_times_eta(kind: str, per: Per) -> None:
    noisy, x = layer(kind, per), inputs(kind)
    run(noisy, x).square().sum().backward()
    weight = noisy.weight.detach()
    eta = standard(weight) * weight.std(correction=0)
    drawn = (weight + 0.25 * eta).requires_grad_()
    plain(noisy, x, drawn).square().sum().backward()
    assert drawn.grad is not None
    parts = drawn.grad * eta
    ((_, alpha),) = coefficients(noisy).items()
    torch.testing.assert_close(alpha.grad, parts.sum_to_size(alpha.shape))
    # std is a constant: the weights' own gradient is that of the noisy weights.
    torch.testing.assert_close(noisy.weight.grad, drawn.grad)


@one_place
def test_gradient_in_alpha_is_a_central_difference(kind: str, per: Per, where: Where) -> None:
    noisy, x, step = layer(kind, per, where), inputs(kind), 1e-6
    run(noisy, x).square().sum().backward()
    for alpha in coefficients(noisy).values():
        values, found = alpha.data.view(-1), alpha.grad.view(-1)
        for place in range(0, len(values), 7):
            around = []
            for move in (step, -2 * step, step):
                values[place] += move
                around.append(run(noisy, x).square().sum().item())
            difference = (around[0] - around[1]) / (2 * step)
            assert found[place].item() == pytest.approx(difference, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_the_noise_is_gaussian_with_alpha_times_the_standard_deviation(training: bool) -> None:
    noise = ParametricNoise(3, 1, alpha_init=0.5).train(training)
    noise.alpha.data = torch.tensor([[0.5], [-2.0], [0.0]])  # the sign has no meaning
    noise.generator = seeded(0)
    values = 3 + 2 * torch.randn(3, 4000, generator=seeded(1))
    added = (noise(values) - values).detach()
    sigma = values.std(correction=0)
    for row, size in ((0, 0.5), (1, 2.0)):
        assert kstest(added[row] / (size * sigma), "norm").pvalue > 1e-3
    assert (added[2] == 0).all()


@every_choice
def test_without_noise_it_is_the_plain_layer(kind: str, per: Per, where: Where) -> None:
    noisy, x = layer(kind, per, where, alpha_init=0.0), inputs(kind)
    torch.testing.assert_close(noisy(x), plain(noisy, x, noisy.weight))


@every_choice
def test_alpha_has_the_shape_that_its_name_says(kind: str, per: Per, where: Where) -> None:
    noisy = layer(kind, per, where)
    ones = (1,) * (noisy.weight.dim() - 1)
    weights = {"layer": (), "channel": (4, *ones), "element": tuple(noisy.weight.shape)}
    outputs = {"layer": (), "channel": (4, *ones[1:]), "element": (4,)}
    if kind == CONVOLUTION:
        outputs["channel"] = (4, 1, 1)
    expected = {"on_weights.alpha": weights[per], "on_outputs.alpha": outputs[per]}
    if where != "both":
        expected.pop("on_outputs.alpha" if where == "weights" else "on_weights.alpha")
    found = coefficients(noisy)
    assert {name: tuple(alpha.shape) for name, alpha in found.items()} == expected
    assert all((alpha == 0.25).all() for alpha in found.values())


@every_choice
def test_it_is_random_in_both_modes_and_draws_from_its_generator(
    kind: str, per: Per, where: Where
) -> None:
    noisy, x = layer(kind, per, where), inputs(kind)
    assert torch.equal(run(noisy.train(), x), run(noisy.eval(), x))
    for training in (True, False):
        noisy.train(training)
        assert torch.equal(run(noisy, x, 2), run(noisy, x, 2))
        assert not torch.equal(noisy(x), noisy(x))


def test_one_draw_of_the_weights_serves_the_batch_and_outputs_have_their_own() -> None:
    same = inputs(LINEAR)[:1].expand(5, -1)
    on_weights = run(layer(LINEAR), same)
    torch.testing.assert_close(on_weights, on_weights[:1].expand(5, -1))
    on_outputs = run(layer(LINEAR, where="activations"), same)
    assert len(on_outputs.unique()) == on_outputs.numel()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected("FC-8-4", in_features=12, layer=partial(PNILinear, where="both"))


def test_coefficients_are_the_network_s_own_parameters() -> None:
    model, found = network(), coefficients(network())
    assert len(found) == 4
    assert found.keys() < dict(model.named_parameters()).keys()
    assert coefficients(ParametricNoise()).keys() == {"alpha"}
    assert not coefficients(nn.Linear(2, 2))


def test_decay_reaches_the_weights_only() -> None:
    model = network()
    optimizer = torch.optim.SGD(parameter_groups(model, weight_decay=0.5), lr=0.1)
    before = copy.deepcopy(dict(model.named_parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1.0 if name in coefficients(model) else 0.95
        torch.testing.assert_close(parameter, factor * before[name])


def test_an_attack_draws_its_noise_from_the_generator_it_is_given() -> None:
    model = network()
    images, labels = torch.rand(8, 3, 2, 2, generator=seeded(0)), torch.arange(8) % 4
    found = [PGD(0.1, 0.05, 3, eot_samples=2)(model, images, labels, seeded(1)) for _ in range(2)]
    assert torch.equal(*found)
    assert not torch.equal(predict(model, images), predict(model, images))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: PNILinear(2, 2, per="row"), "per is 'row'"),  # type: ignore[arg-type]
        (lambda: PNIConv2d(2, 2, 3, where="bias"), "where is 'bias'"),  # type: ignore[arg-type]
        (lambda: PNIConv2d(2, 2, 3, per="element", where="both"), "per is 'element'"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
