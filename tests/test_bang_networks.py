"""Caffe's networks and training against their definitions, and runs that can be repeated."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.defenses.bang import BANG, watching
from robustnb.models import predict
from robustnb.papers.bang.networks import (
    RawPixels,
    caffe_sgd,
    cifar10_quick,
    inverse_decay,
    lenet,
)
from robustnb.randomness import seeded
from robustnb.training import cross_entropy, fit

NETWORKS = {"lenet": (lenet, 1), "cifar10_quick": (cifar10_quick, 3)}


def build(name: str, **arguments: int) -> nn.Sequential:
    torch.manual_seed(0)
    return NETWORKS[name][0](**arguments)


def pictures(channels: int, size: int, count: int = 3) -> Tensor:
    return torch.rand(count, channels, size, size, generator=seeded(0))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_they_have_the_weights_of_caffe() -> None:
    assert count(lenet()) == (25 + 1) * 20 + (500 + 1) * 50 + (800 + 1) * 500 + 501 * 10
    convolutions = (75 + 1) * 32 + (800 + 1) * 32 + (800 + 1) * 64
    assert count(cifar10_quick()) == convolutions + (1024 + 1) * 64 + 65 * 10
    with watching(lenet(), lambda *_: None) as layers:
        assert list(layers) == ["conv1", "conv2", "ip1", "ip2"]
    with watching(cifar10_quick(), lambda *_: None) as layers:
        assert list(layers) == ["conv1", "conv2", "conv3", "ip1", "ip2"]


def linear_by_name(model: nn.Module, name: str, x: Tensor, **arguments: int) -> Tensor:
    weight, bias = model.state_dict()[f"{name}.weight"], model.state_dict()[f"{name}.bias"]
    return (F.conv2d if weight.dim() == 4 else F.linear)(x, weight, bias, **arguments)


def test_lenet_is_the_formula() -> None:
    model, images = build("lenet"), pictures(1, 28)
    layer = partial(linear_by_name, model)
    x = F.max_pool2d(layer("conv1", images * 255 * 0.00390625), 2)
    x = F.max_pool2d(layer("conv2", x), 2).flatten(1)
    torch.testing.assert_close(predict(model, images), layer("ip2", F.relu(layer("ip1", x))))


def test_cifar10_quick_is_the_formula() -> None:
    images, mean = pictures(3, 32), pictures(3, 32)[1]
    torch.manual_seed(0)
    model = cifar10_quick(mean)
    layer = partial(linear_by_name, model)
    x = F.relu(F.max_pool2d(layer("conv1", 255 * images - 255 * mean, padding=2), 3, 2, 0, 1, True))
    x = F.avg_pool2d(F.relu(layer("conv2", x, padding=2)), 3, 2, ceil_mode=True)
    x = F.avg_pool2d(F.relu(layer("conv3", x, padding=2)), 3, 2, ceil_mode=True)
    torch.testing.assert_close(predict(model, images), layer("ip2", layer("ip1", x.flatten(1))))
    assert torch.equal(model.state_dict()["centre.mean"], mean)


def test_average_pooling_divides_by_the_pixels_inside_as_caffe_does() -> None:
    ones = torch.ones(1, 32, 16, 16)
    assert torch.equal(cifar10_quick().pool2(ones), torch.ones(1, 32, 8, 8))


@pytest.mark.parametrize(("name", "smallest"), [("lenet", 13), ("cifar10_quick", 8)])
def test_other_sizes_channels_and_classes_fit(name: str, smallest: int) -> None:
    for size in (smallest, smallest + 1, 23, 28, 32):
        model = build(name, in_channels=2, size=size, classes=7)
        assert predict(model, pictures(2, size)).shape == (3, 7)
    with pytest.raises(ValueError, match=f"images of {smallest} pixels or more"):
        build(name, size=smallest - 1)


def test_initial_weights_are_caffes() -> None:
    for layer in (m for m in build("lenet") if isinstance(m, nn.Conv2d | nn.Linear)):
        bound = math.sqrt(3 / layer.weight[0].numel())
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert not layer.bias.any()
    layers = [m for m in build("cifar10_quick") if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer, std in zip(layers, (1e-4, 0.01, 0.01, 0.1, 0.1), strict=True):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
        assert not layer.bias.any()


def test_caffes_step_by_hand() -> None:
    """One weight and one bias, both 1, with gradients 2 and 3."""
    model = nn.Linear(1, 1)
    optimizer = caffe_sgd(model, lr=0.1, momentum=0.5, weight_decay=0.01)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    weight = bias = 1.0
    moved = [0.0, 0.0]
    for _ in range(3):
        model.weight.grad, model.bias.grad = torch.tensor([[2.0]]), torch.tensor([3.0])
        optimizer.step()
        moved[0] = 0.5 * moved[0] + 0.1 * (2 + 0.01 * weight)
        moved[1] = 0.5 * moved[1] + 0.2 * (3 + 0.01 * bias)
        weight, bias = weight - moved[0], bias - moved[1]
        assert model.weight.item() == pytest.approx(weight)
        assert model.bias.item() == pytest.approx(bias)


def test_every_weight_is_learned_once() -> None:
    model = lenet()
    groups = caffe_sgd(model, lr=0.01).param_groups
    assert [group["lr"] for group in groups] == [0.01, 0.02]
    learned = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(learned) == sorted(map(id, model.parameters()))


def test_learning_rates_decay_as_caffes_do_and_can_be_written_down() -> None:
    model = nn.Linear(1, 1)
    optimizer = caffe_sgd(model, lr=0.01)
    scheduler = inverse_decay(optimizer, gamma=0.1, power=0.5)
    for iteration in range(5):
        factor = (1 + 0.1 * iteration) ** -0.5
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.01 * factor, 0.02 * factor])
        optimizer.step()
        scheduler.step()
    again = inverse_decay(caffe_sgd(model, lr=0.01), gamma=0.1, power=0.5)
    again.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert again.get_last_lr() == scheduler.get_last_lr()


@pytest.mark.parametrize("loss", [cross_entropy, BANG(0.815)], ids=["plain", "BANG"])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path, loss) -> None:
    images = pictures(1, 13, count=40)
    split = (images, (images[:, 0, :6].mean((1, 2)) > 0.5).long())
    train = partial(fit, train=split, validation=split, loss=loss, batch_size=8)
    train = partial(train, patience=None, keep="last", progress=False)

    def run(epochs: int, checkpoint: Path | None = None) -> dict[str, Tensor]:
        model = build("lenet", size=13, classes=2)
        optimizer = caffe_sgd(model, lr=0.01)
        steps = {"optimizer": optimizer, "scheduler": inverse_decay(optimizer, gamma=0.1)}
        train(model, epochs=epochs, checkpoint=checkpoint, generator=seeded(3), **steps)
        return model.state_dict()

    whole = run(4)
    run(2, tmp_path / "run.safetensors")
    torch.rand(5)  # whatever happens to the global generator meanwhile
    resumed = run(4, tmp_path / "run.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_not_the_default_is_shown() -> None:
    assert "mean of shape (3, 8, 8)" in repr(RawPixels(torch.zeros(3, 8, 8)))
