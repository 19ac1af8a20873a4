"""Convolutional networks whose activations and layers can be exchanged for stochastic ones."""

from collections.abc import Callable

from torch import Tensor, nn

from robustnb.models import Layer

Activation = Callable[[], nn.Module]
# Called as nn.Conv2d(in_channels, out_channels, kernel_size, stride=, padding=, bias=) is.
Convolution = Callable[..., nn.Module]


def wide_resnet(
    depth: int = 34,
    widen_factor: int = 1,
    *,
    activation: Activation = nn.ReLU,
    conv: Convolution = nn.Conv2d,
    linear: Layer = nn.Linear,
    classes: int = 10,
    in_channels: int = 3,
) -> nn.Sequential:
    """Build a wide residual network with pre-activation (Zagoruyko & Komodakis 2016).

    Three groups of (depth - 4) / 6 blocks have 16, 32 and 64 times `widen_factor` channels, and
    the last two halve the image: WRN-34-10 is `wide_resnet(34, 10)`. Takes images (N, in_channels,
    H, W), at least 4 by 4, and returns logits (N, classes). `activation()` makes each activation,
    `conv` each convolution and `linear` the last layer.
    """
    if depth < 10 or (depth - 4) % 6 or widen_factor < 1:
        raise ValueError(
            f"depth is {depth} and widen_factor {widen_factor}: "
            "depth is 6 n + 4, as 10, 16, 28 or 34, and widen_factor at least 1."
        )
    channels, blocks = 16, []
    for group in range(3):
        width = 16 * 2**group * widen_factor
        for number in range((depth - 4) // 6):
            stride = 2 if group and not number else 1
            blocks.append(_Block(channels, width, stride, activation, conv))
            channels = width
    first = conv(in_channels, 16, 3, stride=1, padding=1, bias=False)
    last = [nn.BatchNorm2d(channels), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _initialised(nn.Sequential(first, *blocks, *last, linear(channels, classes)))


class _Block(nn.Module):
    """Add two convolutions, each after normalisation and activation, to their input.

    Where the number of channels changes, a convolution of kernel 1 brings the input to the new
    shape, after the first normalisation and activation.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, activation: Activation, conv: Convolution
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), activation())
        self.residual = nn.Sequential(
            conv(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            *[nn.BatchNorm2d(outputs), activation()],
            conv(outputs, outputs, 3, stride=1, padding=1, bias=False),
        )
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = conv(inputs, outputs, 1, stride=stride, padding=0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        activated = self.before(x)
        skipped = x if self.shortcut is None else self.shortcut(activated)
        return skipped + self.residual(activated)


def small_convolutional(
    *,
    activation: Activation = nn.ReLU,
    conv: Convolution = nn.Conv2d,
    linear: Layer = nn.Linear,
    classes: int = 10,
    in_channels: int = 1,
) -> nn.Sequential:
    """Build three convolutions of 16, 32 and 64 channels, each normalised, and a linear layer.

    Arguments are those of `wide_resnet`. The last two convolutions halve the image, and pooling
    reduces it to 2 by 2: for images of 8 by 8 pixels up to about 32 by 32.
    """
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((in_channels, 16, 1), (16, 32, 2), (32, 64, 2)):
        layers.append(conv(inputs, outputs, 3, stride=stride, padding=1, bias=False))
        layers += [nn.BatchNorm2d(outputs), activation()]
    pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return _initialised(nn.Sequential(*layers, *pooled, linear(4 * 64, classes)))


def _initialised(model: nn.Sequential) -> nn.Sequential:
    """Draw convolutions with variance 2 / (kernel places * outputs) (He et al. 2015)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
