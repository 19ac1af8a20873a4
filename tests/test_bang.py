"""Balanced gradients against a loop over examples, closed forms and autograd."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.defenses.bang import BANG, balancing, gradient_norms, watching
from robustnb.models import fully_connected
from robustnb.randomness import seeded

Gradients = dict[str, Tensor]


def lenet(channels: int = 3, kernel: int = 3, hidden: int = 7, in_place: bool = True) -> nn.Module:
    """Build two convolutions and two linear layers, in float64, for images (1, 12, 12)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, channels, kernel, padding=kernel // 2),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 4, 3, stride=2, padding="valid", groups=1, padding_mode="zeros"),
        nn.Flatten(),
        nn.Linear(16, hidden, bias=False),
        nn.ReLU(inplace=in_place),
        nn.Linear(hidden, 5),
    ).double()


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 1, 12, 12, generator=seeded(seed), dtype=torch.float64)
    return images, torch.randint(5, (count,), generator=seeded(seed + 1))


def gradients(model: nn.Module, loss: Tensor) -> Gradients:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def one_by_one(model: nn.Module, images: Tensor, labels: Tensor, bang: BANG) -> Gradients:
    """Return eq. (6) as it is written: a sum over examples, layer by layer."""
    layers = [name for name, m in model.named_children() if list(m.parameters())]
    norms: dict[str, list[float]] = {name: [] for name in layers}
    grads: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    wrong = []
    for i in range(len(images)):
        logits, kept = images[i : i + 1], []
        for name, layer in model.named_children():
            logits = layer(logits)
            kept += [logits] if name in layers else []
        wrong.append(bool(logits.argmax() != labels[i]))
        loss = F.cross_entropy(logits, labels[i : i + 1])
        found = torch.autograd.grad(loss, [*kept, *model.parameters()])
        for name, kappa in zip(layers, found, strict=False):
            norms[name].append(kappa.square().sum().sqrt().item())
        for name, g in zip(grads, found[len(layers) :], strict=True):
            grads[name].append(g)

    total = {}
    for name, examples in grads.items():
        kappas = norms[name.rpartition(".")[0]]
        largest = max(kappas)
        parts = []
        for kappa, is_wrong, g in zip(kappas, wrong, examples, strict=True):
            eps = bang.eps * (bang.misclassified if is_wrong else 1)
            # Behind dead units a gradient is exactly 0.
            eta = (largest / kappa) ** (eps * (1 - kappa / largest)) if kappa else 1
            parts.append(eta * g)
        total[name] = bang.beta * sum(parts) / len(parts)
    return total


def assert_same(found: Gradients, expected: Gradients, **tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **tolerance)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 9),
    channels=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
    hidden=st.integers(2, 8),
    eps=st.floats(0, 1.5),
    beta=st.floats(0.1, 2),
    misclassified=st.floats(0, 1),
    in_place=st.booleans(),
)
def test_every_layer_gets_the_sum_over_examples(
    count, channels, kernel, hidden, eps, beta, misclassified, in_place
) -> None:
    bang = BANG(eps, beta, misclassified)
    model, (images, labels) = lenet(channels, kernel, hidden, in_place), batch(count)
    found = gradients(model, bang(model, images, labels))
    expected = one_by_one(lenet(channels, kernel, hidden, False), images, labels, bang)
    assert_same(found, expected, rtol=1e-6, atol=1e-12)


def test_the_gradient_that_flows_down_stays_as_it_was() -> None:
    model, (images, labels) = lenet(), batch(8)
    plain, balanced = (images.clone().requires_grad_() for _ in range(2))
    F.cross_entropy(model(plain), labels).backward()
    BANG(0.815)(model, balanced, labels).backward()
    assert plain.grad is not None
    assert torch.equal(plain.grad, balanced.grad)


def test_other_parameters_are_learned_as_ever() -> None:
    model, (images, labels) = nn.Sequential(nn.BatchNorm2d(1), lenet()).double(), batch(8)
    plain = gradients(model, F.cross_entropy(model(images), labels))
    balanced = gradients(model, BANG(0.815)(model, images, labels))
    assert torch.equal(plain["0.weight"], balanced["0.weight"])
    assert not torch.equal(plain["1.0.weight"], balanced["1.0.weight"])


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.6])
def test_without_eps_only_beta_is_left(beta: float) -> None:
    model, (images, labels) = lenet(), batch(8)
    plain = gradients(model, F.cross_entropy(model(images), labels))
    balanced = gradients(model, BANG(0.0, beta)(model, images, labels))
    assert_same(balanced, {name: beta * g for name, g in plain.items()})


def test_equal_gradients_are_not_scaled() -> None:
    model, (images, labels) = lenet(), batch(1)
    images, labels = images.expand(6, -1, -1, -1), labels.expand(6)
    plain = gradients(model, F.cross_entropy(model(images), labels))
    assert_same(gradients(model, BANG(0.8)(model, images, labels)), plain)


def test_the_loss_and_the_network_are_untouched() -> None:
    model, (images, labels) = lenet(), batch(8)
    before = copy.deepcopy(model.state_dict())
    loss = BANG()(model, images, labels)
    torch.testing.assert_close(loss, F.cross_entropy(model(images), labels))
    assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_weights_stay_without_a_gradient() -> None:
    model, (images, labels) = lenet(), batch(8)
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    found = gradients(model, BANG(0.815)(model, images, labels))
    assert found.keys() == {"2.weight", "2.bias", "6.weight", "6.bias"}


@settings(max_examples=50, deadline=None)
@given(
    norms=st.lists(st.floats(1e-30, 1e6), min_size=1, max_size=8),
    eps=st.floats(0, 1),
)
def test_factors_lie_between_1_and_what_the_largest_gradient_allows(norms, eps) -> None:
    kappa = torch.tensor(norms, dtype=torch.float64)
    eta = balancing(kappa, eps)
    assert (eta >= 1).all()
    assert (eta * kappa <= kappa.max() * (1 + 1e-9)).all()
    assert eta[kappa.argmax()] == 1
    torch.testing.assert_close(balancing(1e3 * kappa, eps), eta)


@pytest.mark.parametrize("share", [0.5, 0.1, 1e-8])
@pytest.mark.parametrize("eps", [0.0, 0.4, 0.815, 1.0])
def test_factor_of_one_share_in_closed_form(share: float, eps: float) -> None:
    eta = balancing(torch.tensor([1.0, share], dtype=torch.float64), eps)
    assert eta[1].item() == pytest.approx((1 / share) ** (eps * (1 - share)))


def test_a_gradient_of_zero_and_a_huge_ratio_stay_finite() -> None:
    eta = balancing(torch.tensor([0.0, 1e-20, 1e25]), 0.8)
    assert eta[0] == eta[2] == 1
    assert eta[1].isfinite()
    assert torch.equal(balancing(torch.zeros(3), 0.8), torch.ones(3))


def test_norms_are_those_of_single_examples() -> None:
    model, (images, labels) = lenet(), batch(6)
    found = gradient_norms(model, images, labels)
    not_in_place = gradient_norms(lenet(in_place=False), images, labels)
    assert all(torch.equal(found[name], not_in_place[name]) for name in found)
    assert list(found) == ["0", "2", "4", "6"]
    for i in range(6):
        single = gradient_norms(model, images[i : i + 1], labels[i : i + 1])
        for name, norms in found.items():
            torch.testing.assert_close(norms[i : i + 1], single[name])
    # The last layer's gradient is the softmax less the label.
    difference = model(images).softmax(1) - F.one_hot(labels, 5)
    torch.testing.assert_close(found["6"], difference.norm(dim=1).detach())
    assert all(p.grad is None for p in model.parameters())


def tied(layer: nn.Module, twin: nn.Module) -> nn.Sequential:
    """Build a network that has two layers of one shape and the same weights."""
    torch.manual_seed(1)
    ends = nn.Linear(9, 7).double(), nn.Linear(7, 5).double()
    return nn.Sequential(nn.Flatten(), ends[0], nn.ReLU(), layer, nn.ReLU(), twin, ends[1])


def test_a_layer_that_is_used_twice_is_balanced_in_each_use() -> None:
    images, labels = batch(6)
    images = images[:, :, :3, :3]
    one = nn.Linear(7, 7).double()
    shared, apart = tied(one, one), tied(copy.deepcopy(one), copy.deepcopy(one))
    expected = gradients(apart, BANG()(apart, images, labels))
    expected["3.weight"] += expected.pop("5.weight")
    expected["3.bias"] += expected.pop("5.bias")
    assert_same(gradients(shared, BANG()(shared, images, labels)), expected)
    norms, both = (gradient_norms(model, images, labels) for model in (shared, apart))
    assert_same(norms, {"3 (2)" if name == "5" else name: both[name] for name in both})


def test_misclassified_examples_are_those_of_this_very_pass() -> None:
    """Dropout makes every pass another one; the logits that are scored decide."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 5)).double()
    images, labels = batch(20)
    seen: list[Tensor] = []
    model.register_forward_hook(lambda m, x, y: seen.append(y.detach()))
    found = gradients(model, BANG(0.8, misclassified=0.0)(model, images, labels))
    (logits,) = seen
    kappa = logits.softmax(1) - F.one_hot(labels, 5)
    wrong = logits.argmax(1) != labels
    eta = balancing(kappa.norm(dim=1), 0.8 * (~wrong).double())
    assert 0 < wrong.sum() < 20
    torch.testing.assert_close(found["2.bias"], (eta[:, None] * kappa).mean(0))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: BANG(eps=-0.1), "eps=-0.1"),
        (lambda: BANG(beta=math.nan), "beta=nan"),
        (lambda: BANG()(nn.Flatten(), *batch(2)), "no linear or convolutional layer"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()


def test_it_trains_a_network_of_the_book() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = fully_connected("FC-20-2", in_features=144).double()
    images = torch.rand(64, 1, 12, 12, generator=seeded(0), dtype=torch.float64)
    labels = (images.mean((1, 2, 3)) > 0.5).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = BANG(0.8)(model, images, labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_watching_shows_each_pass_and_then_leaves() -> None:
    model, (images, _) = lenet(), batch(2)
    seen: list[torch.Size] = []
    with watching(model, lambda layer, x, y: seen.append(y.shape)) as layers:
        model(images)
    model(images)
    assert list(layers) == ["0", "2", "4", "6"]
    assert seen == [(2, 3, 12, 12), (2, 4, 2, 2), (2, 7), (2, 5)]
