"""Line searches against brute force over every step, exact answers by hand, and what must not."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks import line_search
from robustnb.attacks.line_search import LONGEST, FastGradientSign, HotCold
from robustnb.defenses.noise import GaussianNoise
from robustnb.dropout import Dropout
from robustnb.metrics import margin
from robustnb.models import Scale, predict
from robustnb.randomness import seeded

ATTACKS = (
    FastGradientSign(),
    FastGradientSign("margin"),
    FastGradientSign(double=True, scale=0.5),
    HotCold(),
    HotCold("unit"),
    HotCold(shift=-3.0),
)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


def wiggly(seed: int = 0, scale: float = 1.0) -> nn.Sequential:
    """Build a network whose labels come and go along a line."""
    torch.manual_seed(seed)
    layers = (nn.Flatten(), Scale(20.0), nn.Linear(12, 32), Sine(), nn.Linear(32, 4))
    return nn.Sequential(*layers, Scale(scale)).eval()


def linear(*weights: list[float], bias: float = 0.0) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weights[0]), len(weights)))
    model[1].weight.data = torch.tensor(weights)
    model[1].bias.data.fill_(bias)
    return model


def batch(model: nn.Module, count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw 8-bit images and their labels as the model has them, but for the first."""
    images = torch.randint(256, (count, 3, 2, 2), generator=seeded(seed)) / 255
    labels = predict(model, images).argmax(1)
    labels[0] = (labels[0] + 1) % 4
    return images, labels


def brute_force(model: nn.Module, image: Tensor, label: Tensor, direction: Tensor) -> Tensor:
    """Return the image at the first of all 255 steps where its label is another."""
    steps = torch.arange(256).view(-1, 1, 1, 1)
    moved = (255 * image + steps * direction).round().clamp(0, 255) / 255
    fooled = predict(model, moved).argmax(1) != label
    return moved[fooled.int().argmax()] if fooled.any() else image


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), loss=st.sampled_from(["cross-entropy", "margin"]))
def test_fgs_finds_the_smallest_step_of_all(seed: int, loss) -> None:
    model = wiggly(seed)
    images, labels = batch(model, seed=seed)
    found = FastGradientSign(loss)(model, images, labels)
    inputs = images.clone().requires_grad_()
    logits = model(inputs)
    score = F.cross_entropy(logits, labels) if loss == "cross-entropy" else margin(logits, labels)
    score.sum().backward()
    for i in range(len(images)):
        expected = brute_force(model, images[i], labels[i], inputs.grad[i].sign())
        torch.testing.assert_close(found[i], expected)


def test_labels_do_come_and_go_along_the_lines_of_that_test() -> None:
    model = wiggly(1)
    images, labels = batch(model, 200, seed=1)
    found = FastGradientSign()(model, images, labels)
    further = ((255 * images + 255 * (found - images).sign()).clamp(0, 255)) / 255
    fooled = predict(model, found).argmax(1) != labels
    back = predict(model, further).argmax(1) == labels
    assert (fooled & back).any()


def test_saturated_softmax_blinds_only_the_float32_cross_entropy() -> None:
    model = wiggly()
    images, labels = batch(model)
    images, labels = images[1:], labels[1:]
    plain = FastGradientSign()(model, images, labels)
    steep = wiggly(scale=1e4)
    assert torch.equal(FastGradientSign()(steep, images, labels), images)
    small = FastGradientSign(scale=1e-4)(steep, images, labels)
    torch.testing.assert_close(small, plain)
    # At a scale of 400 most float32 gradients are gone, and float64 still has them.
    steep = wiggly(scale=400.0)
    blind = (FastGradientSign()(steep, images, labels) == images).flatten(1).all(1)
    assert blind.float().mean() > 0.5
    for attack in (FastGradientSign(double=True), FastGradientSign("margin")):
        found = attack(steep, images, labels)
        assert (predict(steep, found).argmax(1) != labels).float().mean() > 0.9


def test_the_margin_is_not_touched_by_the_scale() -> None:
    model = wiggly()
    images, labels = batch(model)
    expected = FastGradientSign("margin")(model, images, labels)
    assert torch.equal(FastGradientSign("margin", scale=8.0)(model, images, labels), expected)


@pytest.mark.parametrize(
    ("attack", "omega"),
    [
        (HotCold("unit"), [1.0, -1.0, 0.0]),
        (HotCold("paper"), [1.0, -2.0, 0.0]),
        (HotCold("paper", shift=-10.0), [9.0, 8.0, 0.0]),
        (HotCold("unit", shift=-10.0), [1.0, -1.0, 0.0]),
    ],
)
def test_hot_cold_direction_by_hand(attack: HotCold, omega: list[float]) -> None:
    """Logits are the pixels, 2 for the label and 1 for the runner-up, each with its own weight."""
    model = linear([0.0, 5.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    image, label = torch.tensor([0.5, 0.2, 0.6]).view(1, 1, 1, 3), torch.tensor([1])
    direction = attack._directions(model, image, label).flatten()
    expected = torch.tensor([4.0 * omega[1], 5.0 * omega[0], omega[2]])
    torch.testing.assert_close(direction, expected / expected.abs().max())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), weights=st.sampled_from(["paper", "unit"]))
def test_hot_cold_stops_at_the_first_pixel_on_a_straight_boundary(seed: int, weights) -> None:
    """With two classes that are linear, each further step along the line is a step downhill."""
    generator = seeded(seed)
    model = linear(*torch.randn(2, 12, generator=generator).tolist())
    images = torch.randint(256, (10, 3, 2, 2), generator=generator) / 255
    labels = predict(model, images).argmax(1)
    attack = HotCold(weights, shift=20.0)  # all logits positive: both weights have the right sign
    found = attack(model, images, labels)
    directions = HotCold(weights, shift=20.0)._directions(model, images, labels)
    steps = 2 ** torch.arange(8, 17)
    for i in range(len(images)):
        expected = brute_force(model, images[i], labels[i], directions[i])
        if torch.equal(expected, images[i]):  # no step up to 255: look at some of the longer ones
            ways = steps.view(-1, 1, 1, 1) * directions[i]
            far = (255 * images[i] + ways).round().clamp(0, 255) / 255
            fooled = bool((predict(model, far).argmax(1) != labels[i]).any())
            assert fooled == (not torch.equal(found[i], images[i]))
        else:
            torch.testing.assert_close(found[i], expected)


@pytest.mark.parametrize(("slower", "reached"), [(400.0, True), (1000.0, False)])
def test_hot_cold_goes_as_far_as_nearly_all_pixels_move(slower: float, reached: bool) -> None:
    """The label is lost where the second pixel, which moves more slowly, passes half its range."""
    model = linear([1.0, 1 / slower], [0.0, 0.0])
    model[1].bias.data = torch.tensor([0.0, 0.5 / slower])
    image, label = torch.tensor([1.0, 1.0]).view(1, 1, 1, 2), torch.tensor([0])
    assert reached == (slower * 127.5 < LONGEST)
    found = HotCold("unit")(model, image, label).flatten() * 255
    expected = torch.tensor([0.0, 127.0]) if reached else torch.tensor([255.0, 255.0])
    torch.testing.assert_close(found, expected)


def test_negative_logits_break_the_papers_weights_and_not_the_unit_ones() -> None:
    model = linear(*torch.randn(4, 12, generator=seeded(0)).tolist())
    images, labels = batch(model)
    images, labels = images[1:], labels[1:]

    def success(attack: HotCold) -> float:
        found = attack(model, images, labels)
        return (predict(model, found).argmax(1) != labels).float().mean().item()

    unit = HotCold("unit")(model, images, labels)
    assert torch.equal(HotCold("unit", shift=-1e3)(model, images, labels), unit)
    assert success(HotCold("unit")) == success(HotCold(shift=1e3)) == 1
    assert success(HotCold(shift=-1e3)) < 0.8


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_what_comes_back(attack) -> None:
    """An image of 8 bits, of another label or else untouched; the model as it was."""
    model = nn.Sequential(wiggly(), Dropout()).train()
    model[0].eval()
    images, labels = batch(model[0], 40)
    before, original = copy.deepcopy(model.state_dict()), images.clone()
    found = attack(model, images, labels)
    fooled = predict(model, found).argmax(1) != labels
    assert fooled.float().mean() > 0.5
    assert torch.equal(found[0], images[0])  # misclassified already
    assert torch.equal(found[~fooled], images[~fooled])
    torch.testing.assert_close((255 * found).round(), 255 * found)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(images, original)
    assert [module.training for module in model] == [False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_batches_do_not_change_it(attack, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wiggly().double()
    images, labels = batch(wiggly())
    whole = attack(model, images.double(), labels)
    monkeypatch.setattr(line_search, "BATCH", 3)
    assert torch.equal(attack(model, images.double(), labels), whole)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_without_a_gradient_or_a_way_nothing_moves(attack) -> None:
    images, labels = torch.rand(4, 1, 1, 2, generator=seeded(0)), torch.zeros(4).long()
    constant = linear([0.0, 0.0], [0.0, 0.0])
    constant[1].bias.data = torch.tensor([1.0, 0.0])
    assert torch.equal(attack(constant, images, labels), images)
    certain = linear([1.0, 0.0], [0.0, 0.0])
    certain[1].bias.data = torch.tensor([1.0, 0.0])
    assert torch.equal(attack(certain, images, labels), images)
    assert attack(constant, images[:0], labels[:0]).shape == (0, 1, 1, 2)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_noise_is_drawn_from_the_generator(attack) -> None:
    images, labels = batch(wiggly())
    model = nn.Sequential(wiggly(), GaussianNoise(4, sigma_init=0.1))
    first, again = (attack(model, images, labels, seeded(5)) for _ in range(2))
    assert torch.equal(first, again)


def test_in_float64_every_batch_has_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorded(GaussianNoise):
        drawn: list[float] = []  # noqa: RUF012

        def forward(self, x: Tensor) -> Tensor:
            noisy = super().forward(x)
            self.drawn.append(round((noisy - x).flatten()[0].item(), 4))
            return noisy

    monkeypatch.setattr(line_search, "BATCH", 2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), Recorded(4))
    images, labels = batch(model, count=6)
    Recorded.drawn.clear()
    FastGradientSign(double=True)(model, images, labels, seeded(0))
    assert len(set(Recorded.drawn[:3])) == 3  # the gradients of three batches


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: FastGradientSign("hinge"), "'hinge'"),  # type: ignore[arg-type]
        (lambda: FastGradientSign(scale=0.0), r"scale is 0\.0"),
        (lambda: HotCold("half"), "'half'"),  # type: ignore[arg-type]
        (lambda: HotCold()(wiggly(), torch.full((1, 3, 2, 2), 255.0), torch.zeros(1)), "0, 1"),
        (lambda: FastGradientSign()(wiggly(), torch.rand(1, 3, 2, 2), torch.zeros(2)), "one label"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
