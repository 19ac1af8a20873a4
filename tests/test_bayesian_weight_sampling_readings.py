"""Other readings of the paper differ in what their names say, and in nothing else."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustnb.defenses.bayesian import mean_network
from robustnb.models import fully_connected, predict
from robustnb.papers.bayesian_weight_sampling import control_tables, readings
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    PIXEL_RANGE,
    Training,
    variational_network,
)
from robustnb.randomness import seeded


@pytest.mark.parametrize("rho", [-10.0, -3.0, -1.5, 2.0])
def test_the_variance_reading_has_the_softplus_as_variance(rho: float) -> None:
    sigma = F.softplus(torch.tensor(readings.rho_of_variance(rho), dtype=torch.float64))
    variance = F.softplus(torch.tensor(rho, dtype=torch.float64))
    torch.testing.assert_close(sigma.square(), variance)


def test_copied_weights_give_the_same_answers() -> None:
    images = torch.rand(8, 1, 28, 28, generator=seeded(0))
    plain: nn.Sequential = fully_connected(DEFENDER, scale=PIXEL_RANGE)
    variational = variational_network(-3.0, seed=1)
    readings.copy_weights(plain, variational)
    torch.testing.assert_close(predict(mean_network(variational), images), predict(plain, images))


def test_another_step_changes_nothing_else_of_the_attack() -> None:
    protocol = Protocol()
    other = control_tables.with_step(protocol, 0.1)
    assert other.attack.alpha == 0.1
    assert (other.attack.c, other.attack.steps) == (protocol.attack.c, protocol.attack.steps)
    assert other.num_images == control_tables.FEW_IMAGES
    assert protocol.attack.alpha in protocol.alphas


def test_readings_differ_in_what_their_names_say() -> None:
    protocol = Protocol(
        plain=Training("digits", lr=1e-2), bayesian=Training("digits", lr=1e-4, batch_size=32)
    )
    found = control_tables.readings(protocol)
    ours = found[control_tables.AS_CHOSEN]
    assert ours == readings.Reading(protocol.bayesian)
    different = [reading for reading in found.values() if reading != ours]
    assert len(set(different)) == len(found) - 1
    proper = found["mean likelihood, complexity over images"]
    assert proper.complexity_weight is not None
    assert math.isclose(1 / proper.complexity_weight, 1283)
