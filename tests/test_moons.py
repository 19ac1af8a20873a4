"""The moons in the plane, and the networks that part them."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from torch import nn

from robustnb.defenses.bayesian import BayesianLinear, bayesian_layers
from robustnb.models import fully_connected, predict
from robustnb.moons import fit_moons, plane, two_moons
from robustnb.randomness import initial_weights
from robustnb.training import cross_entropy, score_accuracy


def test_the_points_are_those_of_scikit_learn() -> None:
    (train, train_classes), (held_out, held_out_classes) = two_moons()
    assert train.shape == (400, 1, 1, 2)
    assert held_out.shape == (200, 1, 1, 2)
    assert train.dtype == torch.float32
    points, classes = make_moons(600, noise=0.2, random_state=0)
    both = torch.cat([train, held_out]).view(600, 2).numpy()
    np.testing.assert_allclose(both, points, rtol=1e-6)
    np.testing.assert_array_equal(torch.cat([train_classes, held_out_classes]).numpy(), classes)


def test_a_network_learns_to_part_them() -> None:
    model = fit_moons(epochs=20)
    assert score_accuracy(model, *two_moons()[1]) > 0.9
    assert not model.training


def test_the_same_call_gives_the_same_network() -> None:
    one, other = (predict(fit_moons(epochs=2), plane()[1]) for _ in range(2))
    assert torch.equal(one, other)


def test_the_loss_and_the_layer_are_the_caller_s() -> None:
    def counted(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return cross_entropy(model, images, labels)

    asked: list[int] = []
    model = fit_moons(1, counted, layer=partial(BayesianLinear, rho_init=-9.0))
    assert len(bayesian_layers(model)) == 3
    assert sum(asked) == 400


def test_training_stops_when_it_is_out_of_patience() -> None:
    def useless(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        epochs.append(len(images))
        return 0 * cross_entropy(model, images, labels)

    epochs: list[int] = []
    model = fit_moons(50, useless, patience=2)
    assert sum(epochs) == 3 * 400
    with initial_weights(seed=0):
        start = fully_connected("FC-40-40-2", in_features=2)
    assert torch.equal(predict(model, plane()[1]), predict(start, plane()[1]))


def test_the_plane_has_a_place_for_each_two_ticks() -> None:
    side, places = plane()
    assert side.shape == (90,)
    assert places.shape == (8100, 1, 1, 2)
    assert (side[0].item(), side[-1].item()) == pytest.approx((-2, 3))
    assert places[91].flatten().tolist() == [side[1].item(), side[1].item()]
    assert places[1].flatten().tolist() == [side[0].item(), side[1].item()]
