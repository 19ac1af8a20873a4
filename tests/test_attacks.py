"""Attacks: budgets and ranges always, exact answers by hand, an independent library's numbers."""

import copy
from functools import partial

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from robustnb.attacks.gradient import FGSM, PGD, averaged_gradient
from robustnb.attacks.minimal import MinimumNorm
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.metrics import accuracy, margin
from robustnb.models import fully_connected, predict
from robustnb.randomness import noise_from, seeded

PLAIN = "plain"
MODELS = (PLAIN, "bayesian")


def network(kind: str, name: str = "FC-16-4") -> nn.Sequential:
    torch.manual_seed(0)
    layer = nn.Linear if kind == PLAIN else partial(BayesianLinear, rho_init=-2.0)
    return fully_connected(name, in_features=12, scale=4.0, layer=layer)


def batch(count: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 2, 2, generator=seeded(seed))
    return images, torch.arange(count) % 4


ZEROS = torch.zeros(2, dtype=torch.long)


def attacks(eps: float) -> list:
    return [
        FGSM(eps),
        FGSM(eps, eot_samples=3, loss="margin"),
        PGD(eps, alpha=eps / 3, steps=5),
        PGD(eps, alpha=eps, steps=3, restarts=2, loss="margin"),
        PGD(eps, alpha=eps / 2, steps=4, random_start=False, norm="l2"),
        PGD(eps, alpha=eps / 2, steps=4, restarts=2, norm="l2", eot_samples=2),
    ]


@settings(max_examples=15, deadline=None)
@given(
    eps=st.floats(0, 2),
    kind=st.sampled_from(MODELS),
    index=st.integers(0, len(attacks(1.0)) - 1),
    seed=st.integers(0, 1000),
)
def test_budget_and_valid_range_are_kept(eps: float, kind: str, index: int, seed: int) -> None:
    (images, labels), attack = batch(10, seed), attacks(eps)[index]
    found = attack(network(kind), images, labels, seeded(seed))
    offset = (found - images).flatten(1)
    norm = 2 if getattr(attack, "norm", "linf") == "l2" else float("inf")
    assert offset.norm(norm, dim=1).max() <= eps + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


@settings(max_examples=10, deadline=None)
@given(kind=st.sampled_from(MODELS), alpha=st.floats(0.01, 1), seed=st.integers(0, 1000))
def test_minimum_norm_keeps_the_valid_range(kind: str, alpha: float, seed: int) -> None:
    images, labels = batch(10, seed)
    found = MinimumNorm(alpha=alpha, steps=20)(network(kind), images, labels, seeded(seed))
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("index", range(len(attacks(0.0))))
@pytest.mark.parametrize("kind", MODELS)
def test_eps_0_changes_nothing(kind: str, index: int) -> None:
    images, labels = batch()
    model = network(kind)
    found = attacks(0.0)[index](model, images, labels, seeded(0))
    assert torch.equal(found, images)
    with noise_from(model, seeded(7)):
        clean = predict(model, images)
    with noise_from(model, seeded(7)):
        assert accuracy(predict(model, found), labels) == accuracy(clean, labels)


@pytest.mark.parametrize("attack", [*attacks(0.1), MinimumNorm()])
@pytest.mark.parametrize("kind", MODELS)
def test_mode_weights_and_gradients_stay_as_they_were(kind: str, attack) -> None:
    images, labels = batch()
    model = nn.Sequential(network(kind), nn.Dropout(0.5).eval(), nn.Dropout(0.5)).train()
    model[1].eval()
    nn.functional.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    original = images.clone()
    attack(model, images, labels)
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(images, original)
    assert not images.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)
        assert parameter.requires_grad


def test_fgsm_by_hand() -> None:
    """Two classes, logits (x, -x): the loss of class 0 grows as x falls."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0], [-1.0]])
    images, labels = torch.tensor([0.5, 0.5, 0.05]).view(3, 1, 1, 1), torch.tensor([0, 1, 0])
    found = FGSM(eps=0.1)(model, images, labels).flatten()
    torch.testing.assert_close(found, torch.tensor([0.4, 0.6, 0.0]))


def test_averaged_gradient_is_the_gradient_of_the_expected_loss() -> None:
    """With noisy weights and a linear loss, the mean gradient is the mean weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), BayesianLinear(4, 2, rho_init=-2.0)).eval()
    images, labels = torch.rand(1, 1, 2, 2), torch.tensor([0])
    gradient = averaged_gradient(model, images, labels, "margin", eot_samples=4000).flatten()
    mu, sigma = model[1].mu[:, :-1], model[1].sigma[:, :-1]
    z_scores = (gradient - (mu[1] - mu[0])) / ((sigma[0] ** 2 + sigma[1] ** 2) / 4000).sqrt()
    assert z_scores.abs().max() < 4.5


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network that has learned which quarter of the images is brightest."""
    images = torch.rand(600, 1, 4, 4, generator=seeded(1))
    labels = nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)
    torch.manual_seed(0)
    model = fully_connected("FC-64-4", in_features=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval(), images, labels


@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
def test_fgsm_is_foolbox_s(trained, eps: float) -> None:
    model, images, labels = trained
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, _ = theirs(bounded, images, labels, epsilons=eps)
    torch.testing.assert_close(FGSM(eps)(model, images, labels), expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_is_foolbox_s(trained, norm: str) -> None:
    model, images, labels = trained
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    eps = 0.1 if norm == "linf" else 0.4
    theirs = kind(abs_stepsize=eps / 4, steps=10, random_start=False)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    _, expected, _ = theirs(bounded, images, labels, epsilons=eps)
    ours = PGD(eps, alpha=eps / 4, steps=10, random_start=False, norm=norm)(model, images, labels)
    difference = accuracy(predict(model, ours), labels) - accuracy(predict(model, expected), labels)
    assert abs(difference) <= 0.01
    close = torch.isclose(ours, expected, atol=1e-4).flatten(1).all(1)
    assert close.float().mean() > 0.95  # a step that lands on a kink of the ReLU may go either way


def test_more_restarts_are_stronger(trained) -> None:
    """With steps too short to forget where they began, by the margin that the attack maximises."""
    model, images, labels = trained
    attacks = [PGD(0.05, 0.002, 3, restarts) for restarts in (1, 3, 6)]
    found = [attack(model, images, labels, seeded(0)) for attack in attacks]
    margins = [margin(predict(model, images), labels).mean() for images in found]
    assert margins[0] < margins[1] < margins[2]


@pytest.mark.parametrize(("norm", "dimensions"), [("linf", 1), ("l2", 12)])
def test_the_random_start_is_uniform_in_the_ball(norm: str, dimensions: int) -> None:
    """The share of a ball within a radius r is (r / eps) to the power of its dimensions."""
    images = torch.full((4_000, 3, 2, 2), 0.5)
    start = PGD(0.2, 0.0, 1, norm=norm)  # type: ignore[arg-type]
    found = start(network(PLAIN), images, torch.zeros(len(images), dtype=torch.long), seeded(0))
    offset = (found - images).flatten(1)
    radii = offset.abs().flatten() if norm == "linf" else offset.norm(dim=1)
    volumes = (radii / 0.2).clamp(max=1) ** dimensions
    assert stats.kstest(volumes.numpy(), "uniform").pvalue > 1e-3
    assert abs(offset.mean().item()) < 0.005


def test_l2_steps_have_their_length_however_small_the_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    model[1].weight.data = torch.tensor([[4.8], [-4.8]]).expand(2, 12).clone()
    image, label = torch.full((1, 3, 2, 2), 0.5), torch.tensor([0])
    slope = averaged_gradient(model, image, label, "cross-entropy", 1)
    assert slope.abs().max() > 0 == slope.norm()  # its squares underflow
    found = PGD(1.0, 0.01, 1, random_start=False, norm="l2")(model, image, label)
    assert (found - image).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_an_unbounded_attack_leaves_nothing(trained) -> None:
    model, images, labels = trained
    found = PGD(1.0, 0.1, 40)(model, images, labels, seeded(0))
    assert accuracy(predict(model, found), labels) == 0.0


def test_minimum_norm_fools_and_leaves_what_is_fooled_alone(trained) -> None:
    model, images, _ = trained
    wrong = predict(model, images).argmax(1)
    wrong[:300] = (wrong[:300] + 1) % 4  # labels that the network already contradicts
    # Small steps: this network is steep, and a long step lands far behind the boundary.
    found = MinimumNorm(alpha=2e-4, steps=1000)(model, images, wrong)
    assert torch.equal(found[:300], images[:300])
    assert accuracy(predict(model, found), wrong) == 0.0
    # Foolbox's DeepFool aims at the same boundary: ours must not be much farther away.
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    deepfool = foolbox.attacks.L2DeepFoolAttack(steps=50, overshoot=0.02)
    _, expected, fooled = deepfool(bounded, images[300:], wrong[300:], epsilons=None)
    ours = (found[300:] - images[300:]).flatten(1).norm(dim=1)[fooled]
    theirs = (expected - images[300:]).flatten(1).norm(dim=1)[fooled]
    assert ours.mean() <= 1.3 * theirs.mean()


def test_minimum_norm_step_by_hand() -> None:
    """Two classes, logits (x, 0), target 1: cross-entropy is log(1 + e^x), its slope sigmoid(x)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0], [0.0]])
    image, label = torch.tensor([[[[0.5]]]]), torch.tensor([0])
    found = MinimumNorm(c=0.3, alpha=0.1, steps=2, clip=False)(model, image, label)
    first = 0.5 - 0.1 * torch.sigmoid(torch.tensor(0.5))
    second = first - 0.1 * (torch.sigmoid(first) - 0.3)  # |r| points away from 0.5
    torch.testing.assert_close(found.squeeze(), second)


def test_no_images_are_attacked() -> None:
    images, labels = batch(2)
    for attack in (FGSM(0.1), PGD(0.1, 0.1, 2), PGD(0.1, 0.1, 2, norm="l2"), MinimumNorm()):
        assert attack(network(PLAIN), images[:0], labels[:0]).shape == (0, *images.shape[1:])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: FGSM(-0.1), "eps is -0.1"),
        (lambda: FGSM(float("nan")), "eps is nan"),
        (lambda: FGSM(0.1)(network(PLAIN), torch.full((2, 3, 2, 2), torch.nan), ZEROS), "from nan"),
        (lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2), ZEROS - 100), "label is -100"),
        (lambda: FGSM(0.1, eot_samples=0), "eot_samples is 0"),
        (lambda: FGSM(0.1, loss="hinge"), "'hinge'"),  # type: ignore[arg-type]
        (lambda: PGD(0.1, 0.1, 0), "steps is 0"),
        (lambda: PGD(0.1, float("nan"), 1), "alpha is nan"),
        (lambda: PGD(0.1, 0.1, 1, norm="l7"), "'l7'"),  # type: ignore[arg-type]
        (lambda: MinimumNorm(alpha=0), "alpha is 0"),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2) * 255, torch.zeros(2)),
            "in \\[0, 1",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 3, 2, 2), torch.zeros(3)),
            "one label per",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), torch.rand(2, 1, 4, 4), torch.zeros(2)),
            "labels are torch.float32",
        ),
        (
            lambda: FGSM(0.1)(network(PLAIN), ZEROS.view(2, 1, 1, 1), ZEROS),
            "images are torch.int64",
        ),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
