"""Figures of networks about BANG, against the same numbers computed image by image."""

from collections import OrderedDict

import pytest
import torch
from drawn import axes_of, points, ticks
from torch import Tensor, nn

from robustnb.attacks.line_search import FastGradientSign, HotCold
from robustnb.data import load
from robustnb.dropout import Dropout
from robustnb.papers.bang import figures
from robustnb.papers.bang.figures import ranked
from robustnb.papers.bang.training import Trained
from robustnb.randomness import initial_weights

IMAGES, LABELS = load("digits").split("test", 6)


def linear(seed: int) -> nn.Sequential:
    """Return a network whose last layer is called as in LeNet, and that reads most digits."""
    with initial_weights(seed):
        layers = {"flatten": nn.Flatten(), "dropout": Dropout(), "ip2": nn.Linear(784, 10)}
        model = nn.Sequential(OrderedDict(layers)).eval()
    images, labels = load("digits").split("train", 300)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


NETWORKS = {"plain": linear(0), "BANG": linear(1)}


def trained(model: nn.Sequential) -> Trained:
    """Return a training of two stages, at whose first the last layer said nothing."""
    last = model.state_dict()
    first = last | {name: torch.zeros_like(weight) for name, weight in last.items()}
    history = [
        {"iteration": 5.0, "validation_accuracy": 0.5},
        {"iteration": 10.0, "validation_accuracy": 0.75},
    ]
    return Trained(model, {5: first, 10: last}, history)


TRAININGS = {name: trained(model) for name, model in NETWORKS.items()}


def moved(image: Tensor, found: Tensor) -> float:
    return (255 * (found - image)).abs().max().item()


def test_lengths_are_ranked_and_those_below_the_axis_are_told() -> None:
    lengths = {"one": [0.1, 1.0, 0.0], "other": [2.0, 3.0]}
    drawing = ranked("Some title", lengths, "length", (1e-3, 10.0))
    (axes,) = axes_of(drawing)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"one": [[1, 1.0], [2, 0.1]], "other": [[1, 3.0], [2, 2.0]]}
    assert (axes.get_yscale(), axes.get_ylim()) == ("log", (1e-3, 10.0))
    assert drawing.alt == "Some title: one from 1 to 0, 1 below the axis; other from 3 to 2."


def test_a_gradient_is_as_long_as_the_softmax_less_the_label() -> None:
    lengths = figures.lengths(TRAININGS, IMAGES, LABELS, 10)
    for name, model in NETWORKS.items():
        for length, image, label in zip(lengths[name], IMAGES, LABELS, strict=True):
            gap = model(image[None])[0].softmax(0)
            gap[label] -= 1
            assert length.item() == pytest.approx(gap.norm().item(), rel=1e-4)
    nothing = figures.lengths(TRAININGS, IMAGES, LABELS, 5)["plain"]  # p is 0.1 for all
    torch.testing.assert_close(nothing, torch.full((6,), 0.9**0.5))
    drawing = figures.gradient_lengths(TRAININGS, IMAGES, LABELS, 5)
    assert drawing.alt.startswith("Gradients of 6 training digits after 5 iterations: plain from 0")


def test_curves_go_over_the_history_and_the_stages() -> None:
    (axes,) = axes_of(figures.accuracy_curves(TRAININGS))
    assert points(axes, "BANG") == [(0, 50), (1, 75)]
    assert ticks(axes) == ["5", "10"]
    (axes,) = axes_of(figures.mean_logits(TRAININGS, IMAGES))
    last = NETWORKS["plain"](IMAGES).mean().item()
    assert points(axes, "plain") == [(0, 0), (1, pytest.approx(last))]


def test_an_image_is_shown_if_every_network_is_fooled() -> None:
    expected = [
        number
        for number in range(len(IMAGES))
        if all(
            not torch.equal(HotCold()(model, image, label), image)
            for model in NETWORKS.values()
            for image, label in [(IMAGES[number : number + 1], LABELS[number : number + 1])]
        )
    ]
    assert expected
    assert figures.fooled(NETWORKS, IMAGES, LABELS).tolist() == expected


@pytest.mark.parametrize("shift", [0, -300])
def test_what_hot_cold_needs_is_written_under_each_image(shift: int) -> None:
    attack, expected = HotCold(shift=float(shift)), [f"{label}" for label in LABELS.tolist()]
    for name, model in NETWORKS.items():
        found = attack(model, IMAGES, LABELS)
        sizes = [moved(*pair) for pair in zip(IMAGES, found, strict=True)]
        expected += [f"{name}: {size:.0f}" if size else f"{name}: fails" for size in sizes]
    drawing = figures.hot_cold(NETWORKS, IMAGES, LABELS, shift)
    assert drawing.alt.partition(": ")[2].rstrip(".").replace("; ", ", ").split(", ") == expected
    assert (shift == 0) == (": fails" not in drawing.alt)
    alone = figures.hot_cold(NETWORKS, IMAGES, LABELS, shift, originals=False)
    assert alone.alt.startswith("12 images: plain: ")


def test_a_factor_of_the_logits_changes_the_attack_and_no_answer() -> None:
    factors = (1.0, 1e4)
    lines = figures.multiplied(NETWORKS, IMAGES, LABELS, factors)
    (axes,) = axes_of(figures.multiplied_logits(lines, factors))
    for name, model in NETWORKS.items():
        logits = model(IMAGES)
        right = logits.argmax(1) == LABELS
        found = FastGradientSign()(model, IMAGES[right], LABELS[right])
        fooled = (model(found).argmax(1) != LABELS[right]).double().mean().item()
        assert points(axes, f"fooled by FGS, {name}")[0][1] == pytest.approx(100 * fooled)
        certain = [
            ((factor * logits[right]).softmax(1).amax(1) == 1).double().mean().item()
            for factor in (1.0, 1e4)
        ]
        told = points(axes, f"p = 1, {name}")
        assert told == [(0, pytest.approx(100 * certain[0])), (1, pytest.approx(100 * certain[1]))]
        assert certain == [0, 1]
    assert ticks(axes) == ["1", "10000"]


def test_both_networks_answer_an_image_under_noise() -> None:
    classes = tuple("0123456789")
    label = int(LABELS[0])
    calm = figures.under_noise(NETWORKS, IMAGES[:1], label, classes, 0)
    for name, model in NETWORKS.items():
        belief = model(IMAGES[:1])[0].softmax(0)
        assert f"{name} says {belief.argmax()} ({belief.max():.2f})" in calm.alt
    assert calm.alt.startswith(f"The true class is {label}.")
    loud = figures.under_noise(NETWORKS, IMAGES[:1], label, classes, 3_000)
    assert loud.alt != calm.alt


def test_a_network_alone_has_no_dropout_and_answers_alike() -> None:
    alone = figures.without_dropout(NETWORKS["plain"])
    assert [type(layer) for layer in alone] == [nn.Flatten, nn.Linear]
    assert torch.equal(alone(IMAGES), NETWORKS["plain"](IMAGES))
