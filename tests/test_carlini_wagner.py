"""Carlini & Wagner's attack: exact distances on a linear network, and an independent library's."""

import copy
from functools import partial

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustnb.attacks import carlini_wagner
from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.defenses.bayesian import BayesianLinear
from robustnb.metrics import margin
from robustnb.models import fully_connected, predict
from robustnb.randomness import seeded

LAYERS = {"plain": nn.Linear, "bayesian": partial(BayesianLinear, rho_init=-2.0)}


def network(kind: str = "plain") -> nn.Sequential:
    torch.manual_seed(0)
    return fully_connected("FC-16-4", in_features=12, scale=4.0, layer=LAYERS[kind])


def batch(count: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    images = torch.rand(count, 3, 2, 2, generator=seeded(seed))
    return images, torch.arange(count) % 4


def distances(found: Tensor, images: Tensor) -> Tensor:
    return (found - images).flatten(1).norm(dim=1)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network that has learned which quarter of the images is brightest."""
    images = torch.rand(60, 1, 4, 4, generator=seeded(1))
    labels = nn.functional.avg_pool2d(images, 2).flatten(1).argmax(1)
    torch.manual_seed(0)
    model = fully_connected("FC-64-4", in_features=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval(), images, labels


@pytest.mark.parametrize(
    ("attack", "tolerance"),
    [
        (CarliniWagner(), 0.0),
        (CarliniWagner(c=3.0, kappa=0.5, steps=40, lr=0.02), 0.0),
        (CarliniWagner(c=0.1, steps=100, binary_search_steps=4), 0.02),
    ],
)
def test_it_is_foolbox_s(trained, monkeypatch, attack: CarliniWagner, tolerance: float) -> None:
    monkeypatch.setattr(carlini_wagner, "REACH", 0.999999)
    model, images, labels = trained
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=attack.binary_search_steps,
        steps=attack.steps,
        stepsize=attack.lr,
        confidence=attack.kappa,
        initial_const=attack.c,
    )
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    expected, _, _ = theirs(bounded, images, labels, epsilons=None)
    found = attack(model, images, labels)
    theirs_far = distances(expected, images)
    # Foolbox returns black images where it fails.
    succeeded = expected.flatten(1).amax(1) > 0
    assert torch.equal(margin(predict(model, found), labels) > attack.kappa, succeeded)
    ours_far = distances(found, images)
    torch.testing.assert_close(ours_far[~succeeded], torch.zeros(int((~succeeded).sum())))
    assert succeeded.float().mean() > 0.9
    gap = (ours_far[succeeded].mean() / theirs_far[succeeded].mean() - 1).abs()
    assert gap <= tolerance + 1e-4
    if not tolerance:
        torch.testing.assert_close(found[succeeded], expected[succeeded], atol=1e-4, rtol=0)


def linear(bias: float = 0.0) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).double()
    model[1].weight.data = torch.tensor([[1.5, -2.0], [0.0, 0.0]], dtype=torch.float64)
    model[1].bias.data = torch.tensor([bias, 0.0], dtype=torch.float64)
    return model


@pytest.mark.parametrize("kappa", [0.0, 0.1])
def test_on_a_linear_network_it_finds_the_distance_to_the_boundary(kappa: float) -> None:
    """The nearest point with margin kappa is (kappa - margin) / |w| away."""
    images = 0.4 + 0.2 * torch.rand(30, 1, 1, 2, generator=seeded(0), dtype=torch.float64)
    model = linear(0.25)
    labels = predict(model, images).argmax(1)
    exact = (kappa - margin(predict(model, images), labels)) / 2.5
    attack = CarliniWagner(c=0.1, kappa=kappa, steps=300, lr=0.005, binary_search_steps=8)
    found = distances(attack(model, images, labels), images)
    assert (found >= exact - 1e-9).all()
    torch.testing.assert_close(found, exact, rtol=0.02, atol=2e-3)


def test_black_and_white_pixels_can_move() -> None:
    image = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    model, label = linear(-0.5), torch.tensor([0])  # with margin -1: x1 must fall or x2 rise
    attack = CarliniWagner(c=1.0, steps=200, lr=0.02, binary_search_steps=3)
    found = attack(model, image, label)
    assert predict(model, found).argmax(1) == 1
    assert distances(found, image).item() == pytest.approx(0.4, rel=0.02)


def test_a_search_for_c_brings_images_closer_and_fools_more(trained) -> None:
    model, images, labels = trained
    weak = CarliniWagner(c=1e-3, steps=100)(model, images, labels)
    assert torch.equal(weak, images)
    found = CarliniWagner(c=1e-3, steps=100, binary_search_steps=6)(model, images, labels)
    assert (predict(model, found).argmax(1) != labels).all()
    strong = CarliniWagner(c=100.0, steps=100)(model, images, labels)
    assert distances(found, images).mean() < distances(strong, images).mean()


def test_dropping_images_that_are_done_changes_little(trained) -> None:
    model, images, labels = trained
    # Two passes of a network without noise are one, and switch the dropping off.
    dropped, kept = (
        distances(CarliniWagner(0.1, 0.0, 200, 0.01, 4, passes)(model, images, labels), images)
        for passes in (1, 2)
    )
    torch.testing.assert_close(dropped.mean(), kept.mean(), rtol=5e-3, atol=0)


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(list(LAYERS)),
    c=st.floats(1e-4, 1e4),
    kappa=st.floats(0, 3),
    eot_samples=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_what_it_returns_is_an_image_that_fools_or_the_original(
    kind: str, c: float, kappa: float, eot_samples: int, seed: int
) -> None:
    (images, labels), model = batch(10, seed), network(kind)
    attack = CarliniWagner(c, kappa, 12, 0.1, 2, eot_samples)
    found = attack(model, images, labels, seeded(seed))
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    if kind == "plain":
        moved = distances(found, images) > 0
        assert (margin(predict(model, found), labels)[moved] > kappa).all()


def test_what_is_misclassified_already_stays(trained) -> None:
    model, images, labels = trained
    found = CarliniWagner()(model, images, (labels + 1) % 4)
    assert torch.equal(found, images)
    assert CarliniWagner()(model, images[:0], labels[:0]).shape == (0, 1, 4, 4)
    followed = CarliniWagner(steps=2)(model, images.clone().requires_grad_(), labels)
    assert torch.equal(followed, CarliniWagner(steps=2)(model, images, labels))


@pytest.mark.parametrize("kind", LAYERS)
def test_mode_weights_and_gradients_stay_and_one_generator_gives_one_result(kind: str) -> None:
    images, labels = batch()
    model = nn.Sequential(network(kind), nn.Dropout(0.5).eval(), nn.Dropout(0.5)).train()
    model[1].eval()
    nn.functional.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    modes, original = [module.training for module in model.modules()], images.clone()
    attack = CarliniWagner(steps=10, lr=0.1, binary_search_steps=2, eot_samples=2)
    found = [attack(model, images, labels, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]) == (kind == "plain")
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(images, original)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: CarliniWagner(c=0.0), "c is 0.0"),
        (lambda: CarliniWagner(c=float("nan")), "c is nan"),
        (lambda: CarliniWagner(kappa=-1.0), "kappa is -1.0"),
        (lambda: CarliniWagner(steps=0), "steps is 0"),
        (lambda: CarliniWagner()(network(), 255 * torch.rand(2, 3, 2, 2), torch.zeros(2)), "0, 1"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
