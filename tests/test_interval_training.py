"""Training by intervals: finite differences, bounds of the loss, the schedule, and its effect."""

from pathlib import Path

import pytest
import torch
from certifiable import batch, convolutional, dense, one_strong_pixel
from finite_difference import assert_gradients_are_slopes
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR

from robustnb.attacks.gradient import PGD
from robustnb.certificates import crown, intervals
from robustnb.defenses.adversarial_training import Adversarial
from robustnb.defenses.interval_training import IntervalTraining
from robustnb.models import fully_connected
from robustnb.randomness import initial_weights
from robustnb.training import cross_entropy, fit

NETWORKS = {
    "dense": (dense(12, 5, 4, 3), (3, 2, 2)),
    "convolutional": (convolutional(), (2, 6, 6)),
    "with maxima": (convolutional(nn.MaxPool2d(2, stride=1)), (2, 6, 6)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def in_double(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    model, shape = NETWORKS[name]
    images, labels = batch(model.float(), *shape)
    return model.double(), images.double(), labels


@every_network
@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_its_gradient_is_a_finite_difference(name: str, kappa: float) -> None:
    model, images, labels = in_double(name)
    loss = IntervalTraining(0.1, kappa=kappa)
    assert_gradients_are_slopes(lambda: loss(model, images, labels), model)


@every_network
def test_it_mixes_the_loss_with_that_of_the_bounds(name: str) -> None:
    model, images, labels = in_double(name)
    clean = cross_entropy(model, images, labels)
    margins = intervals.margin_bounds(model, images, labels, 0.1)
    worst = (-margins).exp().sum(1).log().mean()  # the label's own margin is 0
    for kappa in (0.0, 0.3, 1.0):
        found = IntervalTraining(0.1, kappa=kappa)(model, images, labels)
        torch.testing.assert_close(found, kappa * clean + (1 - kappa) * worst)
    at_the_image = IntervalTraining(0.0, kappa=0.0)(model, images, labels)
    torch.testing.assert_close(at_the_image, clean)


@every_network
def test_no_attack_reaches_the_loss_of_the_bounds(name: str) -> None:
    model, images, labels = in_double(name)
    bound = IntervalTraining(0.1, kappa=0.0)(model, images, labels)
    assert bound > Adversarial(PGD(0.1, 0.03, 20, restarts=3))(model, images, labels)


def scheduled(**settings: float) -> IntervalTraining:
    optimizer = torch.optim.SGD(dense(4, 3).parameters(), 0.1)
    return IntervalTraining(0.4, scheduler=ConstantLR(optimizer, factor=1), **settings)


def test_eps_and_kappa_go_linearly_after_the_warm_up() -> None:
    loss = scheduled(warm_up=10, ramp_up=20)
    for step, expected in {
        0: (0.0, 1.0),
        10: (0.0, 1.0),
        15: (0.1, 0.875),
        20: (0.2, 0.75),
        30: (0.4, 0.5),
        99: (0.4, 0.5),
    }.items():
        assert loss.schedule(step) == pytest.approx(expected)
    assert scheduled(warm_up=10, kappa=0.0).schedule(9) == (0.0, 1.0)
    assert scheduled(warm_up=10, kappa=0.0).schedule(10) == (0.4, 0.0)
    assert IntervalTraining(0.4).schedule(0) == (0.4, 0.5)


def test_the_steps_are_those_of_the_scheduler() -> None:
    model = dense(4, 6, 3)
    images, labels = batch(model, 1, 2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = IntervalTraining(0.4, ramp_up=4, scheduler=ConstantLR(optimizer, factor=1))
    for step in range(6):
        eps, kappa = loss.schedule(step)
        expected = IntervalTraining(eps, kappa)(model, images, labels)
        torch.testing.assert_close(loss(model, images, labels), expected)
        optimizer.step()
        loss.scheduler.step()


TRAIN, VALIDATION = one_strong_pixel(400, 0), one_strong_pixel(200, 1)


def train(ramp_up: int, epochs: int, checkpoint: Path | None = None) -> nn.Module:
    with initial_weights(0):
        model = fully_connected("FC-16-2", in_features=16, scale=4.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    scheduler = ConstantLR(optimizer, factor=1)
    loss = IntervalTraining(0.1, warm_up=40, ramp_up=ramp_up, scheduler=scheduler)
    fit(
        model,
        TRAIN,
        VALIDATION,
        optimizer=optimizer,
        scheduler=scheduler,
        loss=loss if ramp_up else cross_entropy,
        batch_size=50,
        epochs=epochs,
        patience=None,
        keep="last",
        checkpoint=checkpoint,
        progress=False,
    )
    return model


def test_training_by_intervals_makes_a_network_that_they_certify() -> None:
    """Only the strong pixel survives an attack, so that 85% is the best that can be had."""
    plain, trained = train(0, 20), train(80, 20)
    shares = [intervals.certified(m, *VALIDATION, 0.1).float().mean() for m in (plain, trained)]
    assert shares[0] < 0.5
    assert shares[1] > 0.75
    tight = crown.certified(trained, *VALIDATION, 0.1).float().mean()
    assert tight >= shares[1]


def test_an_interrupted_training_goes_on_at_the_same_step_of_the_schedule(tmp_path: Path) -> None:
    whole = train(80, 12)
    train(80, 8, checkpoint=tmp_path / "run")
    resumed = train(80, 12, checkpoint=tmp_path / "run")
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="different loss"):
        train(70, 12, checkpoint=tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"eps": 8}, "divide by 255"),
        ({"eps": 0.1, "kappa": 1.5}, "kappa is 1.5: it must be from 0 to 1"),
        ({"eps": 0.1, "ramp_up": -1}, "ramp_up is -1"),
        ({"eps": 0.1, "ramp_up": 10}, "take the scheduler that fit gets"),
    ],
)
def test_wrong_settings_are_named(settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        IntervalTraining(**settings)


def test_a_network_that_is_not_taken_is_named() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="has a Sigmoid: this bound takes"):
        IntervalTraining(0.1)(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))
