"""What moves the networks of Xiao, Zhang & Peng, and names that say which have noise."""

import pytest
import torch
from torch import nn

from robustnb.defenses.noise import noise_layers
from robustnb.papers.noise_optimization.networks import network
from robustnb.papers.noise_optimization.protocols import PROTOCOLS, without_noise
from robustnb.papers.noise_optimization.training import Training, optimizer_for, schedule_for


def test_steps_of_sgd_shrink_and_steps_of_adam_do_not() -> None:
    model = nn.Linear(2, 2)
    sgd = Training("digits", epochs=2, batch_size=64, lr=1.0, momentum=0.9, decay_every=2)
    optimizer = optimizer_for(sgd, model)
    schedule = schedule_for(sgd, optimizer, 130)  # three minibatches of 64 an epoch
    assert isinstance(optimizer, torch.optim.SGD)
    assert schedule is not None
    rates = []
    for _ in range(12):
        rates += [optimizer.param_groups[0]["lr"]]
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0] * 6 + [0.8] * 6)
    adam = Training("digits", epochs=2)
    assert schedule_for(adam, optimizer_for(adam, model), 130) is None


@pytest.mark.parametrize("table", ["3", "4"])
def test_the_noisy_networks_have_noise_and_the_others_none(table: str) -> None:
    study = PROTOCOLS["paper"].study(table)
    for name in study.networks:
        assert bool(noise_layers(network(name))) == (name in study.noisy)
        assert not noise_layers(network(without_noise(name)))
        assert without_noise(name) in study.networks
