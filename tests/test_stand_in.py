"""Stand-ins: straight-through slopes against autograd, true answers, and what they find."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.auto_pgd import APGD
from robustnb.attacks.gradient import PGD
from robustnb.attacks.stand_in import BPDA, BackwardThrough, Smooth
from robustnb.attacks.straight_through import StraightThrough, straight
from robustnb.defenses.bayesian import BayesianLinear, mean_network
from robustnb.defenses.lwta import WinnerTakesAll
from robustnb.defenses.noise import noisy_linear
from robustnb.defenses.pni import PNILinear
from robustnb.metrics import accuracy
from robustnb.models import fully_connected, logits_and_slope, predict
from robustnb.randomness import noise_from, seeded, stochastic_layers

Function = Callable[[Tensor], Tensor]


def numbers(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(5, 6, generator=seeded(0), dtype=torch.float64).to(dtype)


def gradient(function: Function, everything: bool = False, through: bool = True) -> Tensor:
    """Return the gradient of a weighted sum of what a function answers to `numbers`."""
    x = numbers().requires_grad_()
    weights = torch.randn(5, 6, generator=seeded(1), dtype=torch.float64)
    if through:
        with StraightThrough(everything=everything):
            answer = function(x)
        assert torch.equal(answer, function(x))
    else:
        answer = function(x)
    (found,) = torch.autograd.grad((answer * weights).sum(), x)
    return found


def identity(x: Tensor) -> Tensor:
    return x


def cut(x: Tensor) -> Tensor:
    """Write rounded numbers into a tensor that is there already, row by row."""
    result = torch.zeros_like(x)
    for row in range(len(x)):
        result[row] = x[row].mul(9).round_()
    return result / 9


def chances(x: Tensor) -> Tensor:
    return x.softmax(1)


STEPS: dict[str, tuple[Function, Function]] = {
    "round": (torch.round, identity),
    "quantised": (lambda x: (7 * x).round() / 7, identity),
    "squared": (lambda x: x.floor().add(1).square(), lambda x: (2 * x.floor() + 2).detach() * x),
    "multiplied": (lambda x: x * (5 * x).trunc(), lambda x: (5 * x + (5 * x).trunc()).detach() * x),
    "in place": (lambda x: x.mul(7).ceil_().div_(7), identity),
    "by name": (lambda x: torch.round(input=7 * x, decimals=0) / 7, identity),
    "bytes": (lambda x: (255 * x).byte().to(x.dtype) / 255, identity),
    "bytes divided": (lambda x: (255 * x).to(torch.int32) / 255 * torch.ones_like(x), identity),
    "whole numbers": (lambda x: ((255 * x).long() // 16 * 16).double() / 255, identity),
    "floor division": (lambda x: x // 0.1 * 0.1, identity),
    "rounding_mode": (lambda x: torch.div(x, 0.1, rounding_mode="floor") * 0.1, identity),
    "sign": (lambda x: (x - 0.5).sign(), identity),
    "heaviside": (lambda x: torch.heaviside(x - 0.5, torch.ones_like(x)), identity),
    "row by row": (cut, identity),
    "one-hot": (lambda x: F.one_hot(x.argmax(1), 6).to(x.dtype), chances),
    "scattered": (
        lambda x: torch.zeros_like(x).scatter(1, x.argmax(1)[:, None], 3.0),
        lambda x: 3 * chances(x),
    ),
    "scattered in place": (
        lambda x: torch.zeros_like(x).scatter_(1, x.max(1, keepdim=True).indices, 1.0),
        chances,
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_slope_of_its_smooth_function(name: str) -> None:
    step, smooth = STEPS[name]
    torch.testing.assert_close(gradient(step), gradient(smooth, through=False))


HIDDEN: dict[str, tuple[Function, Function]] = {
    "compared": (lambda x: (x > 0.5).to(x.dtype), identity),
    "below": (lambda x: 2.0 * (x >= 0.5), lambda x: 2 * x),
    "weighed": (
        lambda x: x * (x < 0.5),
        lambda x: ((x < 0.5).to(x.dtype) - x).detach() * x,
    ),
    "chosen": (lambda x: torch.where(x > 0.5, 3.0, 1.0).to(x.dtype), lambda x: 2 * x),
    "detached": (lambda x: x.detach().square(), torch.square),
    "data": (lambda x: x.data.square(), torch.square),
    "no_grad": (torch.no_grad()(torch.square), torch.square),
    "sure": (lambda x: (1e5 * x).sigmoid(), lambda x: (x / _largest(x) * 5).sigmoid()),
}


def _largest(x: Tensor) -> Tensor:
    return x.detach().amax(1, keepdim=True)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_a_gradient_is_seen_through_where_all_is(name: str) -> None:
    step, smooth = HIDDEN[name]
    torch.testing.assert_close(gradient(step, True), gradient(smooth, through=False))


@given(seed=st.integers(0, 100), hidden=st.integers(1, 9))
def test_what_is_smooth_has_its_own_gradient(seed: int, hidden: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, hidden), nn.ReLU(), nn.Linear(hidden, 6)).double()
    for function in (model, lambda x: model(x).clamp(-0.3, 0.3) * (x > 0.5) + x.max(1)[0][:, None]):
        torch.testing.assert_close(gradient(function), gradient(function, through=False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_value_is_kept_to_the_last_bit(dtype: torch.dtype) -> None:
    slope, value = numbers(dtype).requires_grad_(), 1e6 * numbers(dtype) + torch.inf * 0
    value[0, 0] = -torch.inf
    slope.data[1, 1] = torch.inf
    result = straight(slope, value)
    assert torch.equal(result.nan_to_num(7), value.nan_to_num(7))
    result[:, 1:].float().sum().backward()
    assert slope.grad is not None
    assert slope.grad[:, 1:].eq(1).all()


class Wrapped(nn.Module):
    """A network whose images go through a function first."""

    def __init__(self, network: nn.Module, function: Function) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.function(images))


class NoSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx, into: Tensor) -> Tensor:
        return torch.zeros_like(into)


class NumPys(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(np.round(images.detach().cpu().numpy() * 15) / 15).to(images.dtype)


KILLERS: dict[str, Function] = {
    "detach": lambda x: x.detach(),
    "detach and a path": lambda x: x.detach() + 0 * x,
    "no_grad": torch.no_grad()(lambda x: 1 * x),
    "a custom function": NoSlope.apply,
    "a hook": lambda x: _hooked(1 * x),
    "rounding": lambda x: (15 * x).round() / 15,
    "NumPy in a module": NumPys(),
}


def _hooked(x: Tensor) -> Tensor:
    if x.requires_grad:
        x.register_hook(torch.zeros_like)
    return x


def plain(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected("FC-30-4", in_features=16, scale=4.0).to(dtype).eval()


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(40, 1, 4, 4, generator=seeded(0)).to(dtype)


def margins(logits: Tensor) -> Tensor:
    return logits[:, 1] - logits[:, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("killer", KILLERS)
def test_a_killed_gradient_is_that_of_the_network_behind(killer: str, dtype: torch.dtype) -> None:
    model = Wrapped(plain(dtype), KILLERS[killer])
    with torch.no_grad():
        seen = KILLERS[killer](images(dtype))
    *_, expected = logits_and_slope(plain(dtype), seen, margins)
    through = BackwardThrough(model, Smooth(model))
    logits, _, found = logits_and_slope(through, images(dtype), margins)
    assert torch.equal(logits, model(images(dtype)))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("killer", KILLERS)
@pytest.mark.parametrize("attack", [PGD(0.2, 0.05, 10), APGD(0.2, steps=10)])
@pytest.mark.filterwarnings("ignore:The gradient is exactly 0")
def test_attacks_find_through_a_stand_in_what_they_find_on_the_network_behind(
    killer: str, attack: PGD | APGD
) -> None:
    model, x = Wrapped(plain(), KILLERS[killer]), images()
    labels = predict(model, x).argmax(1)

    def left(on: nn.Module, by) -> float:
        return accuracy(predict(model, by(on, x, labels, seeded(0))), labels)

    undefended = left(plain(), attack)
    assert undefended < 0.5
    assert left(model, BPDA(attack)) <= undefended + 0.05
    if killer not in ("detach", "no_grad", "NumPy in a module"):  # without a path, attacks refuse
        assert left(model, attack) > 0.8


STOCHASTIC: dict[str, Callable[[], nn.Module]] = {
    "Bayesian": lambda: fully_connected("FC-30-4", in_features=16, layer=BayesianLinear),
    "noise": lambda: fully_connected("FC-30-4", in_features=16, layer=noisy_linear),
    "PNI": lambda: nn.Sequential(nn.Flatten(), PNILinear(16, 30, where="both"), nn.Linear(30, 4)),
    "winners": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(16, 30), WinnerTakesAll(2, "sample"), nn.Linear(30, 4)
    ),
    "dropout": lambda: nn.Sequential(nn.Flatten(), _AlwaysDropped(), nn.Linear(16, 4)),
    "global noise": lambda: Wrapped(plain(), lambda x: x + torch.randn_like(x)),
}


class _AlwaysDropped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True)


def mean_of(name: str, model: nn.Module) -> nn.Module:
    """Return the network of the means, built by hand."""
    if name == "Bayesian":
        return mean_network(model)
    if name == "dropout":
        return nn.Sequential(model[0], model[2])
    if name == "global noise":
        return model.network
    if name == "PNI":
        still = nn.Linear(16, 30)
        still.weight, still.bias = model[1].weight, model[1].bias
        return nn.Sequential(model[0], still, model[2])
    if name == "winners":
        mean = WinnerTakesAll(2, "mean")
        return nn.Sequential(model[0], model[1], mean, model[3])
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return nn.Sequential(nn.Flatten(), linear[0], nn.ReLU(), linear[1])


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stand_in_has_the_means_of_what_is_random(name: str) -> None:
    torch.manual_seed(0)
    model = STOCHASTIC[name]().eval()
    *_, expected = logits_and_slope(mean_of(name, model), images(), margins)
    expected_logits = mean_of(name, model)(images())
    torch.testing.assert_close(Smooth(model)(images()), expected_logits)
    through = BackwardThrough(model, Smooth(model))
    with noise_from(through, seeded(3)):
        logits, _, found = logits_and_slope(through, images(), margins)
    with noise_from(model, seeded(3)):
        answers = model(images())
    assert torch.equal(logits, answers)
    torch.testing.assert_close(found, expected)


def test_without_means_a_stand_in_has_the_draw_that_answers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(noisy_linear(16, 20), nn.ReLU(), BayesianLinear(20, 4)).eval()
    x = images().flatten(1)
    through = BackwardThrough(model, Smooth(model, means=False))
    for ask in (model, through):
        with noise_from(ask, seeded(3)):
            ask.found = logits_and_slope(ask, x, margins)
    for one, other in zip(model.found, through.found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_random_transform_is_that_of_the_answer() -> None:
    """The slope of a rolled image is rolled back by as much as the answer's own draw rolled it."""

    def rolled(x: Tensor) -> Tensor:
        return x.roll(int(torch.randint(0, 4, ())), 3)

    model = Wrapped(plain(), rolled)
    through = BackwardThrough(model, Smooth(model))
    seen = set()
    for seed in range(8):
        with noise_from(through, seeded(seed)):
            _, _, found = logits_and_slope(through, images(), margins)
        with noise_from(model, seeded(seed)):
            _, _, expected = logits_and_slope(model, images(), margins)
        torch.testing.assert_close(found, expected)
        seen.add(found.sum((0, 1, 2)).argmax().item())
    assert len(seen) > 1


@pytest.mark.parametrize("name", [*KILLERS, *STOCHASTIC])
def test_nothing_of_the_network_is_changed(name: str) -> None:
    torch.manual_seed(0)
    model = (STOCHASTIC[name]() if name in STOCHASTIC else Wrapped(plain(), KILLERS[name])).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    own = [set(vars(module)) for module in model.modules()]
    modes = [getattr(module, "mode", None) for module in model.modules()]
    drawing = torch.get_rng_state()
    labels = torch.zeros(40, dtype=torch.long)
    BPDA(PGD(0.1, 0.05, 3, eot_samples=2))(model, images(), labels, seeded(0))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert [set(vars(module)) for module in model.modules()] == own
    assert [getattr(module, "mode", None) for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawing)
    assert all(layer.generator is None for layer in stochastic_layers(model))


def test_a_stand_in_of_one_s_own_leads_the_attack() -> None:
    """Along the gradient of a network that climbs in class 1 alone, every pixel rises by eps."""
    own = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False))
    own[1].weight.data = torch.tensor([-1.0, 1.0, 0.0, 0.0])[:, None].expand(4, 16).clone()
    x, labels = 0.8 * images(), torch.zeros(40, dtype=torch.long)
    found = BPDA(PGD(0.1, 0.1, 3), own)(Wrapped(plain(), torch.round), x, labels, seeded(0))
    torch.testing.assert_close(found, x + 0.1)


def test_answers_that_do_not_fit_are_told() -> None:
    x, labels = images(), torch.zeros(40, dtype=torch.long)
    three = fully_connected("FC-3", in_features=16)
    with pytest.raises(ValueError, match=r"stand-in returns the shape \(40, 3\) for 40 images"):
        BPDA(PGD(0.1, 0.1, 1), three)(plain(), x, labels)
    with pytest.raises(ValueError, match=r"stand-in returns a tuple for 40 images"):
        BPDA(PGD(0.1, 0.1, 1), Wrapped(nn.Identity(), lambda x: (x, x)))(plain(), x, labels)
    with pytest.raises(ValueError, match=r"the network returns a tuple"):
        BPDA(PGD(0.1, 0.1, 1))(Wrapped(nn.Identity(), lambda x: (x, x)), x, labels)
    with pytest.raises(ValueError, match=r"the network is a function: it must be a torch.nn"):
        BPDA(PGD(0.1, 0.1, 1))(identity, x, labels)
    with pytest.raises(ValueError, match=r"the network is a str: it must be a torch.nn.Module."):
        BPDA(PGD(0.1, 0.1, 1), "smooth")
    with pytest.raises(ValueError, match=r"means is 1: it must be True or False."):
        BPDA(PGD(0.1, 0.1, 1), means=1)


def test_what_cannot_be_seen_through_is_told() -> None:
    """NumPy in a network's own forward leaves no path, and changes the shape on its way."""

    def answers(x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().flatten(1).numpy()[:, :4].copy())

    model = Wrapped(nn.Identity(), answers)
    with pytest.raises(ValueError, match="no gradient in its images"):
        BPDA(PGD(0.1, 0.1, 1))(model, images(), torch.zeros(40, dtype=torch.long))


def test_an_error_on_the_way_is_one_sentence() -> None:
    def answers(x: Tensor) -> Tensor:
        if x.requires_grad:
            raise RuntimeError("no\nway.")
        return x.flatten(1)[:, :4]

    model = Wrapped(nn.Identity(), answers)
    with pytest.raises(ValueError, match=r"^no smooth stand-in .*: no; give one as stand_in\.$"):
        BPDA(PGD(0.1, 0.1, 1))(model, images(), torch.zeros(40, dtype=torch.long))


def test_half_floats_are_followed_in_their_own_type() -> None:
    x, labels = images().bfloat16(), torch.zeros(40, dtype=torch.long)
    model = Wrapped(plain(torch.bfloat16), KILLERS["rounding"])
    found = BPDA(PGD(0.2, 0.05, 5))(model, x, labels, seeded(0))
    assert found.dtype == torch.bfloat16
    assert (found - x).abs().max() > 0.1
