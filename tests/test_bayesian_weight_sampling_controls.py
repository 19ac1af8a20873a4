"""The controls share with the variational network what they say they share."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustnb.defenses.bayesian import bayesian_layers, mean_network
from robustnb.models import fully_connected, predict
from robustnb.papers.bayesian_weight_sampling import control_tables, controls, training
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    PIXEL_RANGE,
    Training,
    variational_network,
)
from robustnb.randomness import seeded

IMAGES = torch.rand(16, 1, 28, 28, generator=seeded(0))
LABELS = torch.arange(16) % 10


def plain_copy(variational: nn.Sequential) -> nn.Sequential:
    plain = fully_connected(DEFENDER, scale=PIXEL_RANGE)
    controls.copy_means(variational, plain)
    return plain


def test_a_copy_of_the_means_is_the_network_without_noise() -> None:
    variational = variational_network(-3.0, seed=1)
    without_noise = predict(mean_network(variational), IMAGES)
    torch.testing.assert_close(predict(plain_copy(variational), IMAGES), without_noise)


def test_one_step_of_the_control_is_one_step_of_the_variational_network() -> None:
    """The mean over a minibatch at the control's rate moves weights as the sum at the other."""
    protocol = Protocol()
    size = len(IMAGES)
    protocol = replace(protocol, bayesian=replace(protocol.bayesian, batch_size=size))
    variational = variational_network(-3.0, seed=1)
    plain = plain_copy(variational)
    for layer in bayesian_layers(variational):
        layer.rho.data.fill_(-torch.inf)
    variational.eval()
    F.cross_entropy(variational(IMAGES), LABELS, reduction="sum").backward()
    F.cross_entropy(plain(IMAGES), LABELS).backward()
    lr = control_tables.variational_step(protocol).lr
    linear = [layer for layer in plain if isinstance(layer, nn.Linear)]
    for ours, theirs in zip(linear, bayesian_layers(variational), strict=True):
        assert ours.weight.grad is not None
        assert theirs.mu.grad is not None
        step = protocol.bayesian.lr * theirs.mu.grad[:, :-1]
        torch.testing.assert_close(lr * ours.weight.grad, step, rtol=1e-4, atol=1e-8)


def test_the_variational_network_is_the_one_that_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[nn.Module] = []
    monkeypatch.setattr(
        training, "train_network", lambda _, model, *__: started.append(copy.deepcopy(model))
    )
    training.train_bayesian(Training("digits", lr=1e-4), -3.0, 5)
    expected = variational_network(-3.0, seed=5).state_dict()
    for name, tensor in started[0].state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_there_are_three_controls_for_each_lambda() -> None:
    protocol = Protocol()
    found = control_tables.controls(protocol)
    assert len(found) == 3 * len(control_tables.STRENGTHS)
    for name, control in found.items():
        both = "both" in name
        assert (control.training.lr == protocol.plain.lr) == ("initialisation" in name)
        assert (control.initialisation == "variational") == (both or "initialisation" in name)
        assert ("lambda=1e-2" in name) == (control.strength == "1e-2")


def test_matched_targets_differ_in_their_step_alone() -> None:
    protocol = Protocol()
    same = control_tables.matched(protocol)
    assert same.plain == control_tables.variational_step(protocol)
    assert (same.attack, same.num_images) == (protocol.attack, protocol.num_images)
    assert set(same.sets) <= set(protocol.sets)
