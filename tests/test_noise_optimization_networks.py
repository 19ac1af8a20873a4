"""The paper's networks: their shapes, where the noise stands, and that it is all that differs."""

import re

import pytest
import torch
from torch import Tensor, nn

from robustnb.defenses.noise import GaussianNoise, noise_layers
from robustnb.models import predict
from robustnb.papers.noise_optimization.networks import (
    NETWORKS,
    cnn,
    mlp,
    network,
    resnet18,
    resnet34,
)
from robustnb.randomness import initial_weights, noise_from, seeded
from robustnb.results import published

# Smaller networks and images than the paper's, for speed.
SHAPES = {"MLP": (1, 28, 28), "CNN": (1, 8, 8), "ResNet18": (3, 32, 32), "ResNet34": (3, 64, 64)}
PRINTED = [name for name in NETWORKS if not name.startswith("source")]
every_name = pytest.mark.parametrize("name", NETWORKS)
every_printed_name = pytest.mark.parametrize("name", PRINTED)


def small(name: str, **options) -> nn.Sequential:
    if name.startswith("CNN"):
        options["image_shape"] = SHAPES["CNN"]
    with initial_weights(0):
        return network(name, width=4, **options)


def images_for(name: str, count: int = 3) -> Tensor:
    kind = next(kind for kind in SHAPES if kind in plain_of(name))
    return torch.rand(count, *SHAPES[kind], generator=seeded(0))


def plain_of(name: str) -> str:
    """Return the name without what it says of noise: MLPN ReLU is MLP ReLU, CNN-A+ is CNN."""
    return re.sub(r"(?<=^MLP)[+N]|-.*", "", name)


def leaves(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a network in the order in which it holds them."""
    return [module for module in model.modules() if not list(module.children())]


def test_every_row_of_the_published_tables_has_its_network() -> None:
    rows = {cell["row"] for cell in published("noise-optimization")}
    assert rows == set(PRINTED)


@every_name
def test_logits_have_one_column_a_class(name: str) -> None:
    classes = 200 if "34" in name else 10
    assert predict(small(name), images_for(name)).shape == (3, classes)
    assert predict(small(name, classes=7), images_for(name)).shape == (3, 7)


@every_printed_name
def test_with_the_noise_off_it_is_the_plain_network_bit_for_bit(name: str) -> None:
    """The weights need no copying: every variant draws the same ones."""
    images, plain = images_for(name), predict(small(plain_of(name)), images_for(name))
    assert torch.equal(predict(small(name, at_inference=False), images), plain)
    assert torch.equal(predict(small(name), images), plain) == (name == plain_of(name))


@every_printed_name
def test_what_a_name_says_of_noise_is_so(name: str) -> None:
    layers, learned = noise_layers(small(name)), bool(re.search("(MLP|-A)N", name))
    assert bool(layers) == ("+" in name or learned)
    assert all(layer.sigma.requires_grad == learned for layer in layers)
    assert all(layer.at_inference and (layer.sigma == 1).all() for layer in layers)
    convolutional = any(layer.sigma.dim() == 3 for layer in layers)
    assert convolutional == ("-A" in name)


@every_name
def test_sigma_init_is_where_learned_levels_start(name: str) -> None:
    for layer in noise_layers(small(name, sigma_init=0.25)):
        assert (layer.sigma == (0.25 if layer.sigma.requires_grad else 1)).all()


def kinds(model: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in leaves(model)]


def test_noise_stands_before_each_activation_and_on_the_output() -> None:
    connected = ["Linear", "GaussianNoise", "Sigmoid"]
    assert kinds(mlp("Sigmoid", "learned")) == ["Flatten", *connected, *connected, *connected[:2]]
    found = kinds(cnn("fixed"))
    convolution = ["Conv2d", "GaussianNoise", "ReLU", "MaxPool2d"]
    assert found[:9] == [*convolution, *convolution, "Flatten"]
    assert found[9:] == [*2 * ["Linear", "GaussianNoise", "ReLU"], "Linear", "GaussianNoise"]
    assert kinds(cnn("fixed", "fully connected"))[:6] == 2 * ["Conv2d", "ReLU", "MaxPool2d"]


def test_the_last_convolution_of_each_residual_block_has_noise_and_no_other() -> None:
    for build, blocks, linear in ((resnet18, 8, 3), (resnet34, 16, 4)):
        model = build("learned", width=2)
        found = [module for module in model if hasattr(module, "bn2")]
        assert len(found) == blocks
        for block in found:
            assert [type(layer).__name__ for layer in block.bn2] == ["BatchNorm2d", "GaussianNoise"]
        assert len(noise_layers(model)) == blocks + linear
        assert kinds(model)[1:3] == ["BatchNorm2d", "ReLU"]


def sigmas(model: nn.Module) -> int:
    return sum(layer.sigma.numel() for layer in noise_layers(model))


def test_each_neuron_and_element_of_a_feature_map_has_a_sigma() -> None:
    assert sigmas(mlp(noise="learned")) == 100 + 50 + 10
    assert sigmas(cnn("learned", "fully connected")) == 128 + 128 + 10
    assert sigmas(cnn("learned")) == 32 * 28 * 28 + 64 * 14 * 14 + 128 + 128 + 10
    stages = 2 * (64 * 32 * 32 + 128 * 16 * 16 + 256 * 8 * 8 + 512 * 4 * 4)
    assert sigmas(resnet18("learned")) == stages + 256 + 128 + 10
    stages = 3 * 64 * 32 * 32 + 4 * 128 * 16 * 16 + 6 * 256 * 8 * 8 + 3 * 512 * 4 * 4
    assert sigmas(resnet34("learned")) == stages + 1024 + 512 + 256 + 200


def linear_widths(model: nn.Module) -> list[int]:
    layers = [layer for layer in leaves(model) if isinstance(layer, nn.Linear)]
    return [layer.in_features for layer in layers] + [layers[-1].out_features]


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("MLP ReLU", [784, 100, 50, 10]),
        ("source MLP", [784, 300, 150, 10]),
        ("CNN", [3136, 128, 128, 10]),
        ("ResNet18", [512, 256, 128, 10]),
        ("source ResNet18", [512, 10]),
        ("ResNet34", [2048, 1024, 512, 256, 200]),
        ("source ResNet34", [2048, 200]),
    ],
)
def test_heads_have_the_paper_s_widths(name: str, widths: list[int]) -> None:
    assert linear_widths(network(name)) == widths


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda shape: mlp(noise="learned", in_features=64), (1, 8, 8)),
        (lambda shape: cnn("learned", image_shape=shape), (1, 8, 8)),
        (lambda shape: cnn("learned", image_shape=shape), (3, 9, 13)),
        (lambda shape: resnet18("learned", image_shape=shape, width=2), (3, 64, 64)),
        (lambda shape: resnet18("learned", image_shape=shape, width=2), (1, 28, 28)),
        (lambda shape: resnet34("learned", image_shape=shape, width=2), (3, 32, 32)),
        (lambda shape: resnet34("learned", image_shape=shape, width=2), (3, 37, 50)),
    ],
)
def test_other_sizes_of_images_pass_and_train(build, shape: tuple[int, ...]) -> None:
    model, images = build(shape).train(), torch.rand(2, *shape, generator=seeded(0))
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1])).backward()
    assert all(layer.sigma.grad is not None for layer in noise_layers(model))
    assert all(weight.grad is not None for weight in model.parameters())


def test_two_draws_differ_and_one_seed_gives_one_draw() -> None:
    model, images = small("ResNet18-AN"), images_for("ResNet18")
    found = []
    for seed in (1, 1, 2):
        with noise_from(model, seeded(seed)):
            found.append(predict(model, images))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_noise_in_a_block_comes_before_the_residual_sum() -> None:
    """With weights and input at 0 a block returns max(0, sigma * epsilon)."""
    block = next(m for m in resnet18("fixed", width=2).eval() if hasattr(m, "bn2"))
    noise = next(layer for layer in block.bn2 if isinstance(layer, GaussianNoise))
    for weight in block.conv2.parameters():
        nn.init.zeros_(weight)
    x = torch.randn(2, 2, 32, 32, generator=seeded(0))
    with torch.no_grad(), noise_from(block, seeded(1)):
        found = block(x)
    epsilon = torch.randn(x.shape, generator=seeded(1))
    torch.testing.assert_close(found, (x + noise.sigma * epsilon).clamp(min=0))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: network("CNN-B+"), "'CNN-B\\+' is no network here.*CNN-A\\+"),
        (lambda: mlp("Tanh"), "activation is 'Tanh'"),
        (lambda: mlp(noise="loud"), "noise is 'loud'"),
        (lambda: cnn("fixed", "convolutional"), "where is 'convolutional'"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
