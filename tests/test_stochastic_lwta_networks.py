"""Networks of the book: their published size, their shapes, what stands where ReLU stood."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustnb.defenses.lwta import WinnerTakesAll, competitions
from robustnb.defenses.pni import PNIConv2d, PNILinear, coefficients
from robustnb.papers.stochastic_lwta.networks import small_convolutional, wide_resnet
from robustnb.randomness import seeded


def number_of(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


@pytest.mark.parametrize(
    ("depth", "widen_factor", "millions"), [(34, 10, 46.16), (28, 10, 36.48), (34, 1, 0.467)]
)
def test_it_has_as_many_parameters_as_are_published(
    depth: int, widen_factor: int, millions: float
) -> None:
    count = sum(weights.numel() for weights in wide_resnet(depth, widen_factor).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=2e-3)


def test_depth_counts_layers_with_weights() -> None:
    model = wide_resnet(16, 2)
    shortcuts = sum(m.kernel_size == (1, 1) for m in model.modules() if isinstance(m, nn.Conv2d))
    assert shortcuts == 3
    assert number_of(model, nn.Conv2d) + number_of(model, nn.Linear) == 16 - 2 + shortcuts
    assert number_of(model, nn.ReLU) == number_of(model, nn.BatchNorm2d) == 2 * 6 + 1


def test_groups_halve_the_image_and_double_the_channels() -> None:
    shapes: list[tuple[int, ...]] = []
    model = wide_resnet(10, 3)
    for block in model[1:4]:
        block.register_forward_hook(lambda own, x, y: shapes.append(tuple(y.shape[1:])))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(48, 32, 32), (96, 16, 16), (192, 8, 8)]


def test_a_block_is_its_equation() -> None:
    """With h = relu(norm(x)): x + conv(relu(norm(conv(h)))), or conv(h) in place of x."""
    torch.manual_seed(0)
    model, x = wide_resnet(16).eval(), torch.randn(2, 16, 8, 8)
    for block in (model[1], model[3]):  # of one size, and from 16 to 32 channels
        (norm_1, _), (conv_1, norm_2, _, conv_2) = block.before, block.residual
        for norm in (norm_1, norm_2):
            norm.running_mean.normal_()
        h = F.relu(norm_1(x))
        stride = 1 if block.shortcut is None else 2
        middle = F.relu(norm_2(F.conv2d(h, conv_1.weight, stride=stride, padding=1)))
        residual = F.conv2d(middle, conv_2.weight, padding=1)
        kept = x if stride == 1 else F.conv2d(h, block.shortcut.weight, stride=2)
        torch.testing.assert_close(block(x), kept + residual)


@pytest.mark.parametrize("make", [partial(wide_resnet, 10), small_convolutional])
@pytest.mark.parametrize("size", [8, 28, 32])
def test_units_compete_where_relu_stood_and_noise_is_in_every_layer(make, size: int) -> None:
    model = make(activation=WinnerTakesAll, conv=PNIConv2d, linear=PNILinear, in_channels=1)
    assert not number_of(model, nn.ReLU)
    assert len(competitions(model)) == number_of(model, nn.BatchNorm2d)
    convolutions = number_of(model, nn.Conv2d)
    assert number_of(model, PNIConv2d) == convolutions
    assert len(coefficients(model)) == convolutions + 1
    images = torch.rand(2, 1, size, size, generator=seeded(0))
    F.cross_entropy(model(images), torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_initial_outputs_keep_their_scale() -> None:
    """He's initialisation: a convolution behind ReLU hands on the variance that it got."""
    torch.manual_seed(0)
    conv = wide_resnet(10, 10)[2].residual[0]
    x = torch.randn(4, 160, 32, 32, generator=seeded(0))
    # The stride of 2 leaves a quarter of the places, and fan_out is twice fan_in.
    assert conv(F.relu(x))[..., 1:-1, 1:-1].var().item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: wide_resnet(33), "depth is 33"),
        (lambda: wide_resnet(4), "depth is 4"),
        (lambda: wide_resnet(10, 0), "widen_factor 0"),
    ],
)
def test_wrong_input_is_named(call, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()
