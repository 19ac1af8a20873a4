"""L-BFGS in the box against SciPy's L-BFGS-B, a closed form and foolbox; torch's on a batch."""

import copy
from functools import partial

import foolbox
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS, minimise_in_box
from robustnb.defenses.noise import noisy_linear
from robustnb.metrics import accuracy
from robustnb.models import fully_connected, predict
from robustnb.randomness import noise_from, seeded

LAYERS = {"plain": nn.Linear, "noisy": partial(noisy_linear, sigma_init=0.1)}
ATTACKS = (
    *(LBFGS(steps=6, searches=3), LBFGS(steps=4, searches=2, eot_samples=3)),
    *(BatchLBFGS(0.5, 5), BatchLBFGS(0.05, 5, eot_samples=2)),
)


def network(kind: str = "plain", name: str = "FC-16-4") -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected(name, in_features=12, scale=4.0, layer=LAYERS[kind])


def batch(count: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 2, 2, generator=seeded(seed))
    return images, torch.arange(count) % 4


every_attack = pytest.mark.parametrize("index", range(len(ATTACKS)))
every_kind = pytest.mark.parametrize("kind", LAYERS)


@settings(max_examples=10, deadline=None)
@given(
    kind=st.sampled_from(list(LAYERS)),
    index=st.integers(0, len(ATTACKS) - 1),
    seed=st.integers(0, 1000),
)
def test_the_valid_range_is_kept(kind: str, index: int, seed: int) -> None:
    images, labels = batch(6, seed)
    found = ATTACKS[index](network(kind), images, labels, seeded(seed))
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1


@every_attack
@every_kind
def test_one_generator_gives_one_result(kind: str, index: int) -> None:
    images, labels = batch()
    first, second, other = (
        ATTACKS[index](network(kind), images, labels, seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert torch.equal(first, other) == (kind == "plain")


@every_attack
@every_kind
def test_model_images_and_gradients_stay_as_they_were(kind: str, index: int) -> None:
    images, labels = batch()
    model = nn.Sequential(network(kind), nn.BatchNorm1d(4), nn.Dropout(0.5).eval()).train()
    nn.functional.cross_entropy(model(images), labels).backward()
    weights, original = copy.deepcopy(model.state_dict()), images.clone()
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    ATTACKS[index](model, images, labels, seeded(0))
    assert torch.equal(images, original)
    assert not images.requires_grad
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


# The minimiser.


def quadratic(x: Tensor) -> Tensor:
    """Return a convex function of each place whose minimum lies on several bounds."""
    roots = torch.randn(len(x), 20, 20, generator=seeded(1), dtype=x.dtype)
    hessian = roots @ roots.transpose(1, 2) / 20 + 0.05 * torch.eye(20, dtype=x.dtype)
    slope = torch.randn(len(x), 20, generator=seeded(2), dtype=x.dtype)
    return (x * (0.5 * torch.einsum("nij,nj->ni", hessian, x) - slope)).sum(1)


def rosenbrock(x: Tensor) -> Tensor:
    """Return the curved valley of Rosenbrock, its minimum moved out of the box."""
    valley = x[:, 1:] - x[:, :-1].square()
    return (100 * valley.square() + (1.3 * x[:, :-1] - 1).square() - 0.5 * x[:, 1:]).sum(1)


def logistic(x: Tensor) -> Tensor:
    """Return what the attack minimises, for a linear network: c |r| and a logistic loss."""
    weights = torch.randn(len(x), 30, 20, generator=seeded(3), dtype=x.dtype)
    losses = F.softplus(torch.einsum("nij,nj->ni", weights, x - 0.4)).sum(1)
    return losses + 2 * (x - 0.5).norm(dim=1)


def with_gradient(function, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    values = function(x)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


@pytest.mark.parametrize(
    ("function", "size", "steps"), [(quadratic, 20, 40), (rosenbrock, 6, 80), (logistic, 20, 60)]
)
def test_it_ends_where_scipy_s_l_bfgs_b_does(function, size: int, steps: int) -> None:
    start = torch.rand(6, size, generator=seeded(0), dtype=torch.float64)
    if function is logistic:
        start = torch.full_like(start, 0.5)  # where |r| has its kink
    found = minimise_in_box(partial(with_gradient, function), start, steps)
    assert 0 <= found.min() <= found.max() <= 1
    for number in range(len(start)):

        def one(x: np.ndarray, number: int = number) -> tuple[float, np.ndarray]:
            places = start.clone()
            places[number] = torch.from_numpy(x)
            values, gradients = with_gradient(function, places)
            return values[number].item(), gradients[number].numpy()

        options = {"ftol": 1e-14, "gtol": 1e-10, "maxiter": 500}
        bounds = [(0, 1)] * size
        theirs = minimize(one, start[number].numpy(), jac=True, bounds=bounds, options=options)
        assert function(found)[number].item() <= theirs.fun + 1e-6 * abs(theirs.fun)


def test_a_batch_is_as_many_searches_on_their_own() -> None:
    """One place is easy and one is hard: neither waits for the other, nor learns from it."""
    start = torch.rand(2, 6, generator=seeded(0), dtype=torch.float64)
    factor = torch.tensor([1.0, 1e4], dtype=torch.float64)
    together = minimise_in_box(partial(with_gradient, lambda x: factor * rosenbrock(x)), start, 30)
    for number in range(2):
        alone = minimise_in_box(
            partial(with_gradient, lambda x, f=factor[number]: f * rosenbrock(x)),
            start[number : number + 1],
            30,
        )
        torch.testing.assert_close(alone[0], together[number])


def test_no_step_leads_uphill() -> None:
    start = torch.rand(5, 6, generator=seeded(0), dtype=torch.float64)
    values = torch.stack(
        [
            rosenbrock(minimise_in_box(partial(with_gradient, rosenbrock), start, steps))
            for steps in range(1, 25)
        ]
    )
    assert (values.diff(dim=0) <= 0).all()
    assert torch.equal(values[0], rosenbrock(start))


# The least distortion.


def test_it_finds_the_distance_to_a_straight_boundary() -> None:
    """For logits (w x + b, 0) it is |w x + b| / |w|, where the foot lies in the box."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    weights = torch.randn(12, generator=seeded(0), dtype=torch.float64)
    model[1].weight.data = torch.stack([weights, 0 * weights])
    model[1].bias.data = torch.tensor([-weights.sum() / 2, 0.0], dtype=torch.float64)
    offsets = 0.3 * (torch.rand(30, 12, generator=seeded(1), dtype=torch.float64) - 0.5)
    images = (0.5 + offsets).view(30, 3, 2, 2)
    logits = predict(model, images)
    distances = (logits[:, 0] - logits[:, 1]).abs() / weights.norm()
    found = LBFGS(steps=60, searches=20)(model, images, logits.argmax(1))
    lengths = (found - images).flatten(1).norm(dim=1)
    assert (predict(model, found).argmax(1) != logits.argmax(1)).all()
    assert (lengths >= distances - 1e-9).all()
    assert (lengths <= 1.02 * distances + 1e-6).all()


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network that has learned which quarter of the images is brightest."""
    images = torch.rand(300, 1, 4, 4, generator=seeded(1))
    labels = F.avg_pool2d(images, 2).flatten(1).argmax(1)
    torch.manual_seed(0)
    model = fully_connected("FC-64-4", in_features=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval(), images, labels


def penalised(model: nn.Module, image: Tensor, target: Tensor, c: float, x: Tensor) -> Tensor:
    loss = F.cross_entropy(model(x), target, reduction="none")
    return loss + c * (x - image).flatten(1).norm(dim=1)


@pytest.mark.parametrize("c", [0.3, 3.0, 30.0, 300.0])
def test_one_search_ends_where_scipy_s_does(trained, c: float) -> None:
    """Of the images that it fools; of minima as deep as SciPy's, or deeper, in the mean."""
    model, images, labels = trained
    model, images, labels = copy.deepcopy(model).double(), images[:40].double(), labels[:40]
    found = LBFGS(c=c, steps=60, searches=1)(model, images, labels)
    runner_up = predict(model, images).scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)
    ours, theirs = [], []
    for number in (found != images).flatten(1).any(1).nonzero().flatten():
        image, target = images[number : number + 1], runner_up[number : number + 1]
        objective = partial(penalised, model, image, target, c)

        def one(x: np.ndarray, objective=objective) -> tuple[float, np.ndarray]:
            values, gradients = with_gradient(objective, torch.from_numpy(x).view(1, 1, 4, 4))
            return values.item(), gradients.flatten().numpy()

        start, bounds = image.flatten().numpy(), [(0, 1)] * 16
        theirs.append(minimize(one, start, jac=True, bounds=bounds, method="L-BFGS-B").fun)
        ours.append(objective(found[number : number + 1]).item())
    assert bool(ours) == (c < 300)
    if ours:
        assert np.mean(ours) <= 1.02 * np.mean(theirs)


def test_it_fools_at_little_more_distortion_than_deepfool(trained) -> None:
    """More, as a minimum of the penalised loss lies behind the boundary and not on it."""
    model, images, labels = trained
    right = predict(model, images).argmax(1) == labels
    images, labels = images[right][:100], labels[right][:100]
    found = LBFGS()(model, images, labels)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    deepfool = foolbox.attacks.L2DeepFoolAttack(steps=50, overshoot=0.02)
    _, theirs, _ = deepfool(bounded, images, labels, epsilons=None)
    lengths, least = ((x - images).flatten(1).norm(dim=1) for x in (found, theirs))
    assert accuracy(predict(model, found), labels) == 0.0
    assert lengths.mean() <= 1.4 * least.mean()


def test_more_searches_never_find_a_longer_way(trained) -> None:
    model, images, labels = trained
    lengths = torch.stack(
        [
            (LBFGS(searches=searches)(model, images[:50], labels[:50]) - images[:50])
            .flatten(1)
            .norm(dim=1)
            for searches in (3, 5, 8)
        ]
    )
    fooled = lengths[0] > 0
    assert fooled.float().mean() > 0.9
    assert (lengths[1:, fooled].diff(dim=0) <= 0).all()


def test_images_that_are_wrong_already_are_left_alone(trained) -> None:
    model, images, _ = trained
    wrong = predict(model, images).argmax(1)
    wrong[:50] = (wrong[:50] + 1) % 4
    found = LBFGS()(model, images[:60], wrong[:60])
    assert torch.equal(found[:50], images[:50])
    assert not torch.equal(found[50:], images[50:60])


def test_noise_is_averaged_over_its_draws() -> None:
    """With noise on both logits of a linear network the mean boundary is the one without it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), noisy_linear(12, 2, sigma_init=0.3)).eval()
    plain = nn.Sequential(nn.Flatten(), model[1][0])
    images = batch(30)[0]
    labels = predict(plain, images).argmax(1)
    attacks = [LBFGS(steps=15, searches=5, eot_samples=samples) for samples in (1, 50)]
    found = [attack(model, images, labels, seeded(1)) for attack in attacks]
    expected = attacks[0](plain, images, labels)
    errors = [(x - expected).flatten(1).norm(dim=1).mean() for x in found]
    assert errors[1] < 0.4 * errors[0]


# The published code's.


def test_it_is_torch_s_l_bfgs_on_the_batch_mean(trained) -> None:
    model, images, labels = trained
    found = images[:20].clone().requires_grad_()
    optimizer = torch.optim.LBFGS([found], lr=0.5, max_iter=10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = -F.cross_entropy(model(found), labels[:20])
        loss.backward()
        return loss

    optimizer.step(closure)
    ours = BatchLBFGS(lr=0.5, steps=10)(model, images[:20], labels[:20])
    torch.testing.assert_close(ours, found.detach().clamp(0, 1), rtol=1e-3, atol=1e-4)


def test_nothing_bounds_it_and_images_of_a_batch_depend_on_one_another(trained) -> None:
    model, images, labels = trained
    attack = BatchLBFGS(lr=0.5, steps=10)
    few, many = (attack(model, images[:n], labels[:n])[:10] for n in (10, 200))
    assert (few - images[:10]).abs().max() > 0.5
    assert not torch.allclose(few, many, atol=0.01)


def test_where_cross_entropy_curves_upward_it_is_gradient_ascent_on_the_mean() -> None:
    """As everywhere for a linear network: of minus the loss L-BFGS can remember nothing."""
    (images, labels), model, lr = batch(200), network(name="FC-4"), 0.1
    found = images
    for step in range(5):
        inputs = found.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(inputs), labels), inputs)
        first = min(1.0, 1 / gradient.abs().sum().item())
        found = found + lr * (first if step == 0 else 1.0) * gradient
    ours = BatchLBFGS(lr, steps=5)(model, images, labels)
    torch.testing.assert_close(ours, found.detach().clamp(0, 1))


def test_pixels_that_overflow_are_those_of_the_image() -> None:
    images, labels = batch()
    found = BatchLBFGS(lr=1e38, steps=6)(network(), images, labels)
    assert 0 <= found.min() <= found.max() <= 1


def test_its_passes_draw_noise_that_is_averaged() -> None:
    images, labels = batch()
    model = network("noisy")
    for samples in (1, 3):
        ours = BatchLBFGS(0.5, 1, eot_samples=samples)(model, images, labels, seeded(1))
        inputs = images.clone().requires_grad_()
        with noise_from(model.eval(), seeded(1)):
            loss = torch.stack(
                [F.cross_entropy(model(inputs), labels) for _ in range(samples)]
            ).mean()
        (gradient,) = torch.autograd.grad(loss, inputs)
        step = 0.5 * min(1.0, 1 / gradient.abs().sum().item())
        torch.testing.assert_close(ours, (images + step * gradient).clamp(0, 1))


@pytest.mark.parametrize("attack", [LBFGS(), BatchLBFGS(0.5, 2)])
def test_no_images_and_images_that_are_followed(attack) -> None:
    model, (images, labels) = network(), batch(3)
    assert attack(model, images[:0], labels[:0]).shape == (0, *images.shape[1:])
    followed = attack(model, images.clone().requires_grad_(), labels)
    assert torch.equal(followed.detach(), attack(model, images, labels))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: LBFGS(c=0), "c is 0"),
        (lambda: LBFGS(steps=0), "steps is 0"),
        (lambda: LBFGS(searches=0), "searches is 0"),
        (lambda: LBFGS(eot_samples=0), "eot_samples is 0"),
        (lambda: BatchLBFGS(lr=0, steps=1), "lr is 0"),
        (lambda: BatchLBFGS(lr=0.1, steps=0), "steps is 0"),
        (lambda: LBFGS()(network(), 255 * batch()[0], batch()[1]), r"in \[0, 1"),
        (lambda: BatchLBFGS(0.1, 2)(network(), batch()[0], torch.zeros(3)), "one label per"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
