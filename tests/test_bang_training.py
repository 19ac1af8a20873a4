"""How the networks about BANG are trained: order, learning rates, losses, and what is kept."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.data import load
from robustnb.papers.bang import training
from robustnb.papers.bang.training import Training
from robustnb.randomness import seeded

TRAINING = Training(
    "digits",
    "LeNet",
    iterations=10,
    batch_size=32,
    lr=0.01,
    weight_decay=5e-4,
    decay="inverse",
    misclassified=1.0,
    stages=(4, 10),
    every=4,
)


def test_every_image_is_seen_once_before_any_is_seen_again() -> None:
    order = training._order(7, 17, seeded(0))
    assert len(order) == 17
    assert order[:7].sort().values.tolist() == order[7:14].sort().values.tolist() == list(range(7))
    assert len(set(order[14:].tolist())) == 3


SIZES: list[int] = []


def counted(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    SIZES.append(len(images))
    return F.cross_entropy(model(images), labels)


def test_a_network_takes_exactly_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    SIZES.clear()
    monkeypatch.setattr(training, "cross_entropy", counted)
    found = training.train(TRAINING, 1.0, 0.0, False, 0)
    assert SIZES == 10 * [32]
    assert [row["iteration"] for row in found.history] == [4, 8, 10]
    assert found.seconds == sum(row["seconds"] for row in found.history)
    assert list(found.weights) == [4, 10]
    last, model = found.at(10).state_dict(), found.model.state_dict()
    assert all(torch.equal(last[name], model[name]) for name in model)
    assert any(not torch.equal(found.at(4).state_dict()[name], model[name]) for name in model)


def test_the_learning_rates_fall_as_the_paper_says() -> None:
    model = nn.Linear(1, 1)
    for decay, after, expected in (
        ("inverse", 1_000, 0.01 * 1.1**-0.75),
        ("steps", 1_799, 0.01),
        ("steps", 1_800, 0.001),
        ("steps", 1_900, 0.0001),
    ):
        optimizer = training.caffe_sgd(model, 0.01)
        schedule = training._decay(replace(TRAINING, iterations=2_000, decay=decay), optimizer)
        for _ in range(after):
            optimizer.step()
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * expected)


def test_the_colour_network_sees_pixels_less_their_mean() -> None:
    digits = load("digits", splits="as_published")
    model = training.build(replace(TRAINING, network="CIFAR-10 quick"))
    mean = digits.split("train")[0].mean(0)
    torch.testing.assert_close(model[0](mean[None]), torch.zeros(1, 1, 28, 28))
    assert model(digits.images[:2]).shape == (2, 10)


def test_differences_to_the_label_change_no_gradient_but_for_rounding() -> None:
    model, (images, labels) = nn.Linear(5, 4).double(), (torch.rand(6, 5), torch.arange(6) % 4)
    usual = F.cross_entropy(model(images.double()), labels)
    relative = F.cross_entropy(training.Relative(model, labels)(images.double()), labels)
    for one, other in zip(
        torch.autograd.grad(usual, model.parameters()),
        torch.autograd.grad(relative, model.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("exact", "balanced"), [(False, False), (True, True)])
def test_what_float32_rounds_away_is_what_moves_all_logits(exact: bool, balanced: bool) -> None:
    model = nn.Linear(4, 4)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4) * 30)
        model.bias.zero_()
    images, labels = torch.eye(4) * torch.tensor([[0.1], [1.0], [1.0], [1.0]]), torch.arange(4)
    training.loss_of(TRAINING, 1.0, 0.8, exact)(model, images, labels).backward()
    assert model.bias.grad is not None
    share = model.bias.grad.sum().abs() / model.bias.grad.abs().sum()
    assert (share.item() < 1e-6) == balanced
