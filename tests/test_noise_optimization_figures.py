"""What the chapter on learned noise shows and says, of small networks and of rows made by hand."""

import pytest
import torch
from hand_made import row
from torch import nn

from robustnb.attacks.gradient import FGSM
from robustnb.corruptions import CIFAR_10_C
from robustnb.defenses.noise import GaussianNoise, noise_layers, noisy_linear
from robustnb.metrics import wilson_interval
from robustnb.models import fully_connected, predict
from robustnb.papers.noise_optimization import figures, sentences
from robustnb.papers.noise_optimization.networks import mlp
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.results import Row
from robustnb.stored import Stored

PAPER = "noise-optimization"
Place = tuple[str, str, str]


def made(cells: dict[Place, float], profile: str = "paper", dataset: str = "mnist") -> list[Row]:
    rows = [row(PAPER, place, value, 0, profile) for place, value in cells.items()]
    return [each | {"dataset": dataset} for each in rows]


def stored(*rows: Row) -> Stored:
    return Stored(PAPER, rows, by_row=True)


def perceptron(noise: bool) -> nn.Sequential:
    with initial_weights(0):
        return mlp("ReLU", "learned" if noise else None, in_features=16, hidden=(20, 10)).eval()


def test_one_draw_is_the_same_noise_for_all_images() -> None:
    """Against a pass in which each image is the only one, with the same generator."""
    with initial_weights(0):
        model = fully_connected("FC-5-3", in_features=4, layer=noisy_linear)
    images = torch.rand(6, 1, 2, 2, generator=seeded(0))
    alone = []
    for image in images:
        with noise_from(model, seeded(1)):
            alone.append(predict(model, image[None]))
    torch.testing.assert_close(figures.one_draw(model, images, seeded(1)), torch.cat(alone))
    assert all((layer.sigma == 1).all() for layer in noise_layers(model))


def test_levels_are_drawn_by_layer() -> None:
    model = nn.Sequential(GaussianNoise(20), GaussianNoise(10))
    model[0].sigma.data[3] = 0.25
    drawn = figures.level_maps({"MLPN ReLU": model})
    assert "2 images: ReLU 1 0.25 – 1.00, ReLU 2 1.00 – 1.00" in repr(drawn)


def test_the_gradient_of_a_level_is_delta_times_epsilon() -> None:
    model = nn.Sequential(nn.Flatten(), GaussianNoise(3))
    images, labels = torch.zeros(1, 1, 1, 3), torch.tensor([0])
    (found,) = figures.median_gradients(model, images, labels)
    epsilon = torch.randn(1, 3, generator=seeded(0))
    delta = epsilon.softmax(1) - torch.tensor([[1.0, 0.0, 0.0]])
    assert found == pytest.approx((delta * epsilon).abs().median().item())


def test_answers_are_those_of_networks_that_are_attacked_themselves() -> None:
    plain, noisy = perceptron(noise=False), perceptron(noise=True)
    image, label = torch.rand(1, 1, 4, 4, generator=seeded(0)), torch.tensor([3])
    classes = [str(number) for number in range(10)]
    drawn = figures.answers_under_attack(
        {"noise": noisy, "none": plain}, image, label, classes, eps=0.2, times=0.0
    )
    answer = predict(plain, FGSM(0.2)(plain, image, label)).softmax(1)[0]
    best = f"says {answer.argmax()} ({answer.max():.2f})"
    assert f"noise {best}" in repr(drawn)  # with its noise times 0 it is the other
    assert f"none {best}" in repr(drawn)
    assert all((layer.sigma == 1).all() for layer in noise_layers(noisy))


def test_corruptions_and_maps_have_a_picture_each() -> None:
    image = torch.rand(1, 1, 4, 4, generator=seeded(0))
    assert "glass blur 1, 2, 3, 4, 5" in repr(figures.corruptions(image, CIFAR_10_C))
    drawn = figures.saliency({"MLPN ReLU": perceptron(noise=True)}, image, torch.tensor([7]))
    assert "2 images: 7; MLPN ReLU." in repr(drawn)


def test_the_levels_of_a_network_are_named_by_profile() -> None:
    cells = {
        ("sigma", f"MLPN ReLU, layer {layer}", f"epoch {epoch}"): 1 - epoch * layer / 10
        for layer in (1, 2, 3)
        for epoch in (0, 1, 2)
    }
    found = stored(*made(cells, "laptop"))
    assert sentences.last_levels(found, "MLPN") == (
        "The mean level began at 1 and ended at: MLPN ReLU, layer 1 (laptop) 0.800, "
        "MLPN ReLU, layer 2 (laptop) 0.600, MLPN ReLU, layer 3 (laptop) 0.400."
    )
    assert sentences.levels_that_stay(found, "MLPN ReLU") == (
        "Of the 3 fully connected layers of MLPN ReLU, 2 keep a mean level of 0.5 or more (profile "
        "laptop): layer 1 0.80, layer 2 0.60."
    )
    told = repr(figures.last_levels(found))
    assert "MLPN ReLU, profile laptop, quietest layer: 0.400" in told
    assert "MLPN ReLU, profile laptop, loudest: 0.800" in told
    drawn = repr(figures.levels_by_epoch(found, "MLPN ReLU"))
    assert "layer 2 (laptop): 0 1.00, 1 0.80, 2 0.60" in drawn


def test_losses_are_drawn_by_epoch_and_told_after_the_last() -> None:
    names = ("MLP ReLU", "MLP+ ReLU", "MLPN ReLU", "MLPN Sigmoid", "ResNet34-AN")
    cells = {
        ("convergence", name, f"epoch {epoch}"): 4.0 - epoch for name in names for epoch in (1, 2)
    }
    drawn = repr(figures.losses_by_epoch(stored(*made(cells))))
    assert "MLP+ ReLU (paper): 1 3.00 nats, 2 2.00 nats" in drawn
    assert "Sigmoid" not in drawn
    whole = sentences.last_losses(stored(*made(cells)), "ResNet34")
    assert whole.endswith("in nats: ResNet34-AN (paper) 2.00.")
    few = stored(*made(cells, dataset="tiny-imagenet-20"))
    assert "Guessing among 20 classes" in sentences.last_losses(few, "ResNet34")


def test_the_worst_case_has_its_interval() -> None:
    (found,) = made({("worst case", "CNN", "worst case"): 0.5})
    low, high = wilson_interval(0.5, 200)
    told = repr(figures.worst_cases(stored(found | {"num_images": 200, "unit": "accuracy"})))
    assert "CNN (paper), worst of four: 0.500" in told
    assert f"CNN (paper), 95% interval: {low:.3f} to {high:.3f}" in told


def test_training_with_noise_stands_beside_its_use() -> None:
    columns = ("clean", "white-box FGSM", "white-box PGD")
    values = {("3", "MLP"): 0.1, ("3", "MLPN"): 0.2, ("3", "MLP+"): 0.3}
    values |= {("noise off", "MLPN"): 0.4, ("noise off", "MLP+"): 0.5}
    cells = {
        (table, f"{name} {kind}", column): value
        for (table, name), value in values.items()
        for kind in ("ReLU", "Sigmoid")
        for column in columns
    }
    told = repr(figures.trained_and_used_with_noise(stored(*made(cells))))
    assert "MLPN ReLU, never any noise: 0.100 / 0.100 / 0.100" in told
    assert "MLPN ReLU, trained with noise, off: 0.400" in told
    assert "MLP+ Sigmoid, trained with noise, on: 0.300" in told


def test_sources_are_compared_at_the_same_profile() -> None:
    names = [f"{net} {kind}" for net in ("MLP", "MLPN") for kind in ("ReLU", "Sigmoid")]
    places = {(name, "black-box FGSM"): number / 10 for number, name in enumerate(names)}
    printed = made({("3", *place): value for place, value in places.items()})
    another = {("another seed", *place): value + 0.02 for place, value in places.items()}
    pairs = figures.by_source(stored(*printed, *made(another)))
    assert pairs["MLPN ReLU", "black-box FGSM"] == (0.2, pytest.approx(0.22))
    assert not figures.by_source(stored(*printed, *made(another, "laptop")))
    assert "MLPN ReLU, black-box FGSM, its own: 0.220" in repr(figures.sources(pairs))
    told = sentences.changed_by_source(pairs)
    assert "by +2.0 to +2.0 points, on average by +2.0" in told
    assert "ReLU +20.0 and +20.0; Sigmoid +20.0 and +20.0" in told


def test_the_clamp_stands_beside_the_column_without() -> None:
    cells = {
        ("5", "ResNet18", "clean"): 0.6,
        ("5", "ResNet18", "contrast"): 0.5,
        ("published code", "MLP Sigmoid", "clean"): 0.9,
        ("published code", "ResNet18, normalised and clamped", "clean"): 0.2,
    }
    found = stored(*made(cells))
    _, *told = repr(figures.with_and_without_clamp(found)).splitlines()
    assert told == ["ResNet18, clean: 0.600", "ResNet18, clean, clamped: 0.200"]
    _, *told = repr(figures.as_coded(found)).splitlines()
    assert told == ["MLP Sigmoid (paper), clean: 0.90"]


def test_a_page_says_what_it_shows() -> None:
    cells = {("3", "MLP ReLU", "clean"): 0.9}
    rows = [*made(cells, "laptop", "cifar10"), *made(cells, "laptop"), *made(cells)]
    assert sentences.what_is_shown("smoke", stored(*rows)) == (
        "This page trained at profile smoke; tables and verdicts show rows of profile laptop "
        "(cifar10, mnist), rows of profile paper (mnist); of tables that these lack, the stored "
        "rows."
    )


def test_what_is_left_and_what_is_added_come_from_cells() -> None:
    cells = {
        (table, f"{net} {kind}", column): base + number / 10
        for table, base in (("3", 0.1), ("noise off", 0.2), ("EOT", 0.3))
        for number, net in enumerate(("MLP", "MLP+", "MLPN"))
        for kind in ("ReLU", "Sigmoid")
        for column in ("white-box FGSM", "white-box L-BFGS", "white-box PGD")
    }
    found = stored(*made(cells))
    left = sentences.left_by_lbfgs(found)
    assert "MLPN Sigmoid 0.300 with its noise and 0.400 without." in left
    assert "PGD on Sigmoid +20.0 and +20.0" in sentences.added_by_noise(found)
