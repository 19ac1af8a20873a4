"""APGD: the closed form of a linear classifier, its step rule and its losses."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustnb.attacks.auto_pgd import APGD, checkpoints, dlr, targeted_dlr
from robustnb.attacks.gradient import PGD
from robustnb.defenses.noise import noisy_linear
from robustnb.metrics import accuracy, margin
from robustnb.models import Scale, fully_connected, predict
from robustnb.randomness import seeded


def linear(classes: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, classes)).double()


def inner_images(count: int = 30) -> Tensor:
    """Images far from 0 and 1, where clamping plays no part."""
    return 0.4 + 0.2 * torch.rand(count, 1, 2, 4, generator=seeded(0), dtype=torch.float64)


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_a_linear_classifier_of_two_classes_gives_the_closed_form(loss, norm, dual) -> None:
    """The largest margin is that of the image plus eps times the dual norm of w_1 - w_0."""
    model, images, eps = linear(), inner_images(), 0.05
    labels = torch.zeros(len(images), dtype=torch.long)
    difference = model[1].weight[1] - model[1].weight[0]
    expected = margin(predict(model, images), labels) + eps * difference.detach().norm(dual)
    attack = APGD(eps, steps=20, loss=loss, norm=norm, early_stop=False)
    found = attack(model, images, labels, seeded(0))
    reached = margin(predict(model, found), labels)
    torch.testing.assert_close(reached, expected)


@pytest.mark.parametrize("loss", ["margin", "dlr", "cross-entropy"])
def test_targets_find_just_the_images_that_a_linear_classifier_cannot_hold(loss: str) -> None:
    """An image falls if for some class its margin rises above 0 in the closed form."""
    model, images = linear(5), inner_images(200)
    logits, weights = predict(model, images), model[1].weight.detach()
    labels = logits.argmax(1)
    behind = logits.gather(1, labels[:, None]) - logits
    speeds = (weights[None] - weights[labels][:, None]).abs().sum(2)
    nearest = (behind / speeds).scatter(1, labels[:, None], math.inf).amin(1)  # eps of its fall
    eps = nearest.median().item() + 1e-6
    falls = nearest < eps
    assert eps < 0.4  # so that no pixel is clamped
    attack = APGD(eps, steps=50, loss=loss, targets=4)
    found = predict(model, attack(model, images, labels, seeded(0))).argmax(1) != labels
    assert 0 < falls.sum() < len(falls)
    assert torch.equal(found, falls)


@settings(max_examples=20)
@given(
    eps=st.floats(0, 1),
    norm=st.sampled_from(["linf", "l2"]),
    loss=st.sampled_from(["cross-entropy", "dlr", "margin"]),
    targets=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_budget_and_valid_range_are_kept(eps, norm, loss, targets, seed) -> None:
    torch.manual_seed(0)
    model = fully_connected("FC-16-4", in_features=12, scale=4.0)
    images = torch.rand(8, 3, 2, 2, generator=seeded(seed))
    attack = APGD(eps, steps=8, norm=norm, loss=loss, targets=targets)
    found = attack(model, images, torch.arange(8) % 4, seeded(seed))
    order = 2 if norm == "l2" else math.inf
    assert (found - images).flatten(1).norm(order, dim=1).max() <= eps + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1


@given(steps=st.integers(1, 1000))
def test_checkpoints_grow_denser_down_to_six_percent(steps: int) -> None:
    places = checkpoints(steps)
    assert all(0 < place <= steps for place in places)
    gaps = [b - a for a, b in pairwise([0, *places])]
    assert all(later <= earlier + 1 for earlier, later in pairwise(gaps))  # but for rounding
    assert gaps[0] == math.ceil(round(0.22 * steps, 9))
    assert min(gaps) >= math.floor(0.06 * steps)


def test_checkpoints_of_100_steps_are_the_papers() -> None:
    assert checkpoints(100)[:6] == [22, 41, 57, 70, 80, 87]


def test_dlr_is_the_equation_and_does_not_change_with_scale_and_shift() -> None:
    logits = torch.randn(50, 6, generator=seeded(0), dtype=torch.float64)
    labels, targets = torch.arange(50) % 6, (torch.arange(50) + 1) % 6
    for row, label, target in zip(logits, labels, targets, strict=True):
        z = sorted(row.tolist(), reverse=True)
        wrong = max(v for k, v in enumerate(row.tolist()) if k != label)
        plain = -(row[label] - wrong) / (z[0] - z[2])
        aimed = -(row[label] - row[target]) / (z[0] - (z[2] + z[3]) / 2)
        one = (row[None], label[None])
        assert dlr(*one).item() == pytest.approx(plain.item(), rel=1e-9)
        assert targeted_dlr(*one, target[None]).item() == pytest.approx(aimed.item(), rel=1e-9)
    torch.testing.assert_close(dlr(1e4 * logits - 300, labels), dlr(logits, labels))


def test_steps_halve_until_a_narrow_peak_is_met() -> None:
    """The logit of class 1 peaks inside the ball: a fixed step of 2 eps jumps over it for ever."""

    class Peak(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            away = (images - 0.53).flatten(1).abs().sum(1)
            return torch.stack([torch.zeros_like(away), 0.001 - away], 1)

    images, labels = torch.full((5, 1, 1, 2), 0.5), torch.zeros(5, dtype=torch.long)
    attack = APGD(0.1, steps=100, loss="margin")
    assert (predict(Peak(), attack(Peak(), images, labels, seeded(0))).argmax(1) == 1).all()
    fixed = PGD(0.1, alpha=0.2, steps=100, loss="margin")
    assert (predict(Peak(), fixed(Peak(), images, labels, seeded(0))).argmax(1) == 0).all()


class Scaled(nn.Module):
    """Multiply the logits of a network by a number, which changes no answer."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.model(images)


def test_saturated_logits_stop_cross_entropy_and_not_dlr() -> None:
    torch.manual_seed(0)
    model = fully_connected("FC-16-4", in_features=12, scale=10.0)
    images = torch.rand(100, 3, 2, 2, generator=seeded(0))
    labels = predict(model, images).argmax(1)

    def left(loss: str, factor: float) -> float:
        network = nn.Sequential(model, Scale(factor))
        found = APGD(0.2, steps=20, loss=loss)(network, images, labels, seeded(0))
        return accuracy(predict(network, found), labels)

    assert left("cross-entropy", 1e6) > left("cross-entropy", 1.0) + 0.2
    assert left("dlr", 2.0**20) == pytest.approx(left("dlr", 1.0), abs=0.02)
    assert left("dlr", 1.0) < left("cross-entropy", 1.0) + 0.1


def test_the_best_iterate_is_kept_where_one_error_may_be_luck() -> None:
    torch.manual_seed(0)
    model = fully_connected("FC-16-4", in_features=12, layer=noisy_linear)
    images, labels = torch.rand(6, 3, 2, 2, generator=seeded(1)), torch.arange(6) % 4
    first, again = (
        APGD(0.2, steps=10, eot_samples=3)(model, images, labels, seeded(2)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, images)


def test_classes_too_few_for_a_loss_are_named() -> None:
    images, labels = inner_images(4), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="has 2 classes: the loss 'dlr' needs 3"):
        APGD(0.1, loss="dlr")(linear(), images, labels)
    with pytest.raises(ValueError, match="needs 4"):
        APGD(0.1, loss="dlr", targets=1)(linear(3), images, labels)


def test_an_image_is_not_dropped_for_one_lucky_answer() -> None:
    """The network draws from NumPy, so that only asking twice shows that it is random."""

    class Lucky(nn.Module):
        def __init__(self, size: float) -> None:
            super().__init__()
            self.draws, self.size, self.passes = np.random.default_rng(0), size, 0

        def forward(self, images: Tensor) -> Tensor:
            self.passes += 1
            noise = self.size * self.draws.standard_normal()
            away = images.flatten(1).sum(1)
            return torch.stack([0 * away, away - 0.1 + noise], 1)

    images, labels = torch.full((5, 1, 1, 2), 0.1), torch.zeros(5, dtype=torch.long)
    passes = {}
    for size in (0.0, 1e-3):
        model = Lucky(size)
        APGD(0.1, steps=30)(model, images, labels, seeded(0))
        passes[size] = model.passes
    assert passes[0.0] < 5  # all images are misclassified as they are
    assert passes[1e-3] > 30


@pytest.mark.parametrize("options", [{"loss": "dlr"}, {"targets": 2, "loss": "margin"}])
def test_logits_of_minus_infinity_are_refused_where_they_mean_nothing(options) -> None:
    class Masked(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = images.flatten(1)[:, :5]
            return logits.masked_fill(torch.arange(5) > 2, -torch.inf)

    with pytest.raises(ValueError, match="a logit is minus infinity"):
        APGD(0.1, **options)(Masked(), inner_images(4).float(), torch.zeros(4, dtype=torch.long))


def test_settings_of_another_kind_are_named() -> None:
    with pytest.raises(ValueError, match="early_stop is 'no': it must be True or False"):
        APGD(0.1, early_stop="no")  # type: ignore[arg-type]
    for eps in (True, np.array([0.1])):
        with pytest.raises(ValueError, match=r"eps is .*: it must be a number"):
            APGD(eps)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"generator has the type int"):
        APGD(0.1)(linear(), inner_images(2), torch.zeros(2, dtype=torch.long), 3)  # type: ignore[arg-type]
