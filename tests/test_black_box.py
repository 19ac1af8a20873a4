"""Black-box attacks: budgets always, corners known exactly, defences that hide gradients."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from robustnb.attacks.black_box import RandomNoise, Square, Transfer, _squares
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.defenses.noise import GaussianNoise
from robustnb.metrics import accuracy, margin
from robustnb.models import fully_connected, predict
from robustnb.randomness import seeded

LAYERS = {"plain": nn.Linear, "bayesian": BayesianLinear}


def network(kind: str = "plain", name: str = "FC-16-4") -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected(name, in_features=12, scale=4.0, layer=LAYERS[kind])


def batch(count: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 2, 2, generator=seeded(seed))
    return images, torch.arange(count) % 4


def attacks(eps: float) -> list:
    return [
        RandomNoise(eps),
        RandomNoise(eps, restarts=3, eot_samples=2),
        RandomNoise(eps, norm="l2", restarts=2),
        Square(eps, queries=1),
        Square(eps, queries=20),
        Square(eps, queries=20, p_init=1.0, eot_samples=3),
        Transfer(network("plain", "FC-8-4"), PGD(eps, eps / 3, 5)),
    ]


every_attack = pytest.mark.parametrize("index", range(len(attacks(0.0))))
every_kind = pytest.mark.parametrize("kind", LAYERS)


@settings(max_examples=30, deadline=None)
@given(
    eps=st.floats(0, 1),
    kind=st.sampled_from(list(LAYERS)),
    index=st.integers(0, len(attacks(1.0)) - 1),
    seed=st.integers(0, 1000),
)
def test_budget_and_valid_range_are_kept(eps: float, kind: str, index: int, seed: int) -> None:
    (images, labels), attack = batch(10, seed), attacks(eps)[index]
    found = attack(network(kind), images, labels, seeded(seed))
    norm = 2 if getattr(attack, "norm", "linf") == "l2" else float("inf")
    assert found.shape == images.shape
    assert (found - images).flatten(1).norm(norm, dim=1).max() <= eps + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


@every_attack
def test_eps_0_changes_nothing(index: int) -> None:
    images, labels = batch()
    assert torch.equal(attacks(0.0)[index](network(), images, labels, seeded(0)), images)


@every_attack
@every_kind
def test_one_generator_gives_one_result(kind: str, index: int) -> None:
    images, labels = batch()
    first, second, other = (
        attacks(0.3)[index](network(kind), images, labels, seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@every_attack
@every_kind
def test_model_images_and_gradients_stay_as_they_were(kind: str, index: int) -> None:
    images, labels = batch()
    model = nn.Sequential(network(kind), nn.BatchNorm1d(4), nn.Dropout(0.5).eval()).train()
    nn.functional.cross_entropy(model(images), labels).backward()
    weights, original = copy.deepcopy(model.state_dict()), images.clone()
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    attacks(0.1)[index](model, images, labels, seeded(0))
    assert torch.equal(images, original)
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert all(getattr(module, "generator", None) is None for module in model.modules())


# Random noise


def test_linf_noise_is_uniform_and_l2_noise_has_length_eps() -> None:
    images, labels = torch.full((500, 3, 2, 2), 0.5), torch.zeros(500, dtype=torch.long)
    noise = (RandomNoise(0.2)(network(), images, labels, seeded(0)) - 0.5).flatten()
    assert stats.kstest(noise.numpy(), "uniform", (-0.2, 0.4)).pvalue > 1e-3
    offset = RandomNoise(0.2, norm="l2")(network(), images, labels, seeded(0)) - images
    torch.testing.assert_close(offset.flatten(1).norm(dim=1), torch.full((500,), 0.2))
    # Each coordinate of a uniform direction in 12 dimensions has mean 0 and mean square 1 / 12.
    direction = offset.flatten(1) / 0.2
    assert direction.mean(0).abs().max() < 4.5 * (1 / 12 / 500) ** 0.5
    torch.testing.assert_close(direction.square().mean(), torch.tensor(1 / 12))


def test_more_restarts_of_noise_are_never_weaker() -> None:
    images, labels = batch(200)
    margins = []
    for restarts in (1, 4):
        found = RandomNoise(0.1, restarts=restarts)(network(), images, labels, seeded(0))
        margins.append(margin(predict(network(), found), labels))
    assert (margins[1] >= margins[0]).all()
    assert (margins[1] > margins[0]).float().mean() > 0.5


# Square


def linear(weights: Tensor, bias: float = 0.0) -> nn.Sequential:
    """Return a network with the logits (w x + b, 0)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 2))
    model[1].weight.data = torch.stack([weights, torch.zeros_like(weights)])
    model[1].bias.data = torch.tensor([bias, 0.0])
    return model


def test_square_finds_the_best_corner_of_a_linear_network() -> None:
    """For logits (w x + b, 0) and class 0 it is x - eps sign(w), cut to [0, 1]."""
    weights = torch.randn(2 * 4 * 5, generator=seeded(0))
    images = torch.rand(30, 2, 4, 5, generator=seeded(1))
    labels = torch.zeros(30, dtype=torch.long)
    model = linear(weights, bias=100.0)  # too far from the boundary to stop early
    best = (images - 0.1 * weights.view(2, 4, 5).sign()).clamp(0, 1)
    found = Square(0.1, queries=2000)(model, images, labels, seeded(2))
    reached, possible = (
        margin(predict(model, x), labels) - margin(predict(model, images), labels)
        for x in (found, best)
    )
    assert (reached > 0.99 * possible).all()
    assert (reached <= possible + 1e-4).all()


def test_square_finds_the_best_corner_of_the_mean_network() -> None:
    """Weights drawn anew at each pass: what counts is the sign of their mean."""
    signs = 2.0 * torch.randint(2, (16,), generator=seeded(0)) - 1
    model = nn.Sequential(nn.Flatten(), BayesianLinear(16, 2))
    model[1].mu.data = torch.zeros(2, 17)
    model[1].mu.data[0, :16] = signs
    model[1].rho.data.fill_(-1.0)  # sigma 0.31: three times the mean of 20 is 0.3 at most
    images = torch.full((10, 1, 4, 4), 0.5)
    labels = torch.zeros(10, dtype=torch.long)
    found = Square(0.1, queries=3000, eot_samples=20)(model, images, labels, seeded(1))
    best = images - 0.1 * signs.view(4, 4)
    assert torch.isclose(found, best).float().mean() > 0.99


def test_squares_have_their_side_and_lie_inside() -> None:
    for side in (1, 3, 5):
        masks = _squares(torch.zeros(400, 3, 5, 7), side, seeded(0))
        assert masks.shape == (400, 1, 5, 7)
        for axis, length in ((3, 5), (2, 7)):
            spans = masks.any(axis).flatten(1).numpy()
            assert (spans.sum(1) == side).all()
            assert (np.diff(np.pad(spans, ((0, 0), (1, 1))).astype(int), axis=1) == 1).sum() == 400
            assert len(np.unique(spans.argmax(1))) == length - side + 1


def test_the_squares_shrink_as_in_the_paper() -> None:
    """Its share is p_init at first and halves at 10, 50, 200, 1000, ... of 10,000 queries."""
    attack = Square(0.1, queries=10_000, p_init=0.8)
    sides = [attack._side(query, 28, 28) for query in (1, 10, 11, 51, 201, 1001, 2001, 8001)]
    assert sides == [25, 25, 18, 13, 9, 6, 4, 2]
    assert [Square(0.1, queries=1000)._side(query, 28, 28) for query in (1, 2, 101)] == [25, 18, 6]
    assert Square(0.1)._side(999, 2, 3) == 1


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network that has learned which quarter of an image is brightest, and new images."""
    images = torch.rand(700, 1, 4, 4, generator=seeded(1))
    labels = nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)
    torch.manual_seed(0)
    model = fully_connected("FC-64-4", in_features=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval(), images[:150], labels[:150]


def kept(model: nn.Module, attack, images: Tensor, labels: Tensor) -> float:
    return accuracy(predict(model, attack(model, images, labels, seeded(0))), labels)


def test_square_fools_wherever_a_corner_of_the_ball_does(trained) -> None:
    """All 65,536 corners are tried; those of a ball so small that some images hold out."""
    model, images, labels = trained
    images, labels, eps = images[:40], labels[:40], 0.02
    bits = torch.arange(2**16).unsqueeze(1) >> torch.arange(16) & 1
    corners = eps * (2.0 * bits - 1).view(-1, 1, 4, 4)
    can_be_fooled = torch.stack(
        [
            (predict(model, (x + corners).clamp(0, 1)).argmax(1) != label).any()
            for x, label in zip(images, labels, strict=True)
        ]
    )
    found = Square(eps, queries=2000)(model, images, labels, seeded(0))
    fooled = predict(model, found).argmax(1) != labels
    assert 5 < can_be_fooled.sum() < 35
    assert (fooled <= can_be_fooled).all()
    assert fooled.sum() >= 0.9 * can_be_fooled.sum()


class Louder(nn.Module):
    """A fake defence: logits so large that the softmax, and with it cross-entropy, is flat."""

    def forward(self, logits: Tensor) -> Tensor:
        return 1e4 * logits


class Steps(nn.Module):
    """A fake defence: pixels in 64 steps, whose slope is 0 everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return (63 * images).round() / 63


@pytest.mark.parametrize("defence", ["louder", "steps"])
def test_square_breaks_what_only_hides_its_gradient(trained, defence: str) -> None:
    model, images, labels = trained
    parts = (model, Louder()) if defence == "louder" else (Steps(), model)
    defended = nn.Sequential(*parts)
    blind = PGD(0.1, alpha=0.02, steps=20, restarts=3)
    without = kept(model, blind, images, labels)
    assert kept(defended, blind, images, labels) > without + 0.5
    assert kept(defended, Square(0.1, queries=1000), images, labels) < without + 0.03
    assert kept(defended, Transfer(model, blind), images, labels) < without + 0.03


class Seen(nn.Module):
    """Remember the images of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(images)
        return images


def test_square_deals_every_image_the_same_noise_at_each_query() -> None:
    """Noise of an example's own hangs on its place in the batch, so that none may leave it."""
    seen = Seen()
    model = nn.Sequential(seen, nn.Flatten(), nn.Linear(16, 4), GaussianNoise(4, sigma_init=3.0))
    images, labels = torch.rand(6, 1, 4, 4, generator=seeded(0)), torch.arange(6) % 4
    Square(0.3, queries=20)(model, images, labels, seeded(1))
    assert {len(batch) for batch in seen.batches} == {6}


class Drawing(nn.Module):
    """Change images by noise from torch's global generator, or from one that is handed in."""

    def __init__(self, kind: str, *, handed_in: bool) -> None:
        super().__init__()
        self.kind = kind
        if handed_in:
            self.generator: torch.Generator | None = None

    def forward(self, images: Tensor) -> Tensor:
        draws = {"generator": getattr(self, "generator", None)}
        if self.kind == "noise":
            return images + 0.05 * torch.randn(images.shape, **draws)
        if self.kind == "dropout":
            return images * torch.empty_like(images).bernoulli_(0.9, **draws) / 0.9
        width = 6 + int(torch.randint(4, (), **draws))  # resized at random, and back
        wide = nn.functional.interpolate(images, size=width, mode="bilinear")
        return nn.functional.interpolate(wide, size=4, mode="bilinear")


@pytest.mark.parametrize("kind", ["noise", "dropout", "resize"])
@pytest.mark.parametrize("attack", [Square(0.1, queries=300), Square(0.1, 100, eot_samples=3)])
def test_square_is_as_strong_whichever_generator_a_network_draws_from(trained, kind, attack):
    """Where each query has other noise, changes are kept by luck and most images hold out."""
    model, images, labels = trained
    left = []
    for handed_in in (True, False):
        defended = nn.Sequential(Drawing(kind, handed_in=handed_in), model)
        found = attack(defended, images, labels, seeded(0))
        torch.manual_seed(1)
        answers = torch.stack([predict(defended, found) for _ in range(30)])
        left.append(accuracy(answers, labels))
        clean = accuracy(torch.stack([predict(defended, images) for _ in range(30)]), labels)
        assert left[-1] < clean / 2
    assert left[1] == pytest.approx(left[0], abs=0.06)


class DrawingNumPy(nn.Module):
    """Add the noise of `Drawing`, drawn from NumPy: a generator of its own, or the global one."""

    def __init__(self, rng: Any) -> None:
        super().__init__()
        self.rng = rng

    def forward(self, images: Tensor) -> Tensor:
        rng = np.random if self.rng is None else self.rng
        return images + 0.05 * torch.from_numpy(rng.standard_normal(images.shape)).float()


@pytest.mark.parametrize("rng", [np.random.default_rng(1), np.random.RandomState(1), None])
def test_square_is_as_strong_where_the_noise_is_drawn_from_numpy(trained, rng) -> None:
    model, images, labels = trained
    left = []
    for noise in (Drawing("noise", handed_in=True), DrawingNumPy(rng)):
        defended = nn.Sequential(noise, model)
        found = Square(0.1, queries=300)(defended, images, labels, seeded(0))
        answers = torch.stack([predict(defended, found) for _ in range(30)])
        left.append(accuracy(answers, labels))
    assert left[1] == pytest.approx(left[0], abs=0.06)


@pytest.mark.parametrize("attack", [Square(0.1, 5), RandomNoise(0.1, restarts=2)])
def test_noise_that_cannot_be_found_is_told_once(attack) -> None:
    hidden = np.random.default_rng(0)

    class Hidden(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + hidden.standard_normal()

    model = nn.Sequential(Hidden(), network())
    with pytest.warns(UserWarning, match="asked twice with the same noise"):
        attack(model, *batch())
    with warnings.catch_warnings(action="error"):
        attack(model, *batch())


def test_images_that_are_wrong_already_are_left_alone(trained) -> None:
    model, images, _ = trained
    wrong = predict(model, images).argmax(1)
    wrong[:50] = (wrong[:50] + 1) % 4
    found = Square(0.1, queries=50)(model, images, wrong, seeded(0))
    assert torch.equal(found[:50], images[:50])
    assert not torch.equal(found[50:], images[50:])


# Transfer


class Unasked(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("the network under attack was asked")


def test_transfer_is_the_attack_on_its_source() -> None:
    images, labels = batch()
    source = network()
    found = Transfer(source, FGSM(0.1))(Unasked(), images, labels)
    assert torch.equal(found, FGSM(0.1)(source, images, labels))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: RandomNoise(-0.1), "eps is -0.1"),
        (lambda: RandomNoise(0.1, restarts=0), "restarts is 0"),
        (lambda: RandomNoise(0.1, norm="l7"), "'l7'"),  # type: ignore[arg-type]
        (lambda: Square(-0.1), "eps is -0.1"),
        (lambda: Square(0.1, queries=0), "queries is 0"),
        (lambda: Square(0.1, p_init=1.5), "p_init is 1.5"),
        (lambda: Square(0.1, eot_samples=0), "eot_samples is 0"),
        (
            lambda: Square(0.1)(network(), torch.rand(2, 12), torch.zeros(2).long()),
            r"takes \(N, C, H, W",
        ),
        (lambda: Square(0.1)(network(), 255 * batch(2)[0], torch.zeros(2)), r"in \[0, 1"),
        (lambda: RandomNoise(0.1)(network(), batch(2)[0], torch.zeros(3)), "one label per"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
