"""The networks of Xiao, Zhang & Peng (2021), with noise where their names in the tables say.

Every variant of a network has the same layers and starts from the same weights, drawn by torch's
default initialisers: variants differ in their noise alone. In the authors' code they also differ in
initialisation and activation. `noise` is None, "fixed" (standard normal, in names with a +) or
"learned" (in names with an N). It is added before the activation, and to the output layer too
(eq. 1), with one sigma for each neuron or element of a feature map. `sigma_init` is where learned
levels start, which the paper leaves open: by default at 1, where fixed ones stay.
`at_inference=False` switches the noise off in evaluation mode.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from torch import nn
from torchvision.models.resnet import BasicBlock

from robustnb.defenses.noise import GaussianNoise

Activation = Literal["ReLU", "Sigmoid"]
Noise = Literal["fixed", "learned"] | None
Where = Literal["all", "fully connected"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"ReLU": nn.ReLU, "Sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class NoiseAfter:
    """Make what follows each layer: noise of the shape of its output, or nothing."""

    noise: Noise
    where: Where = "all"
    at_inference: bool = True
    sigma_init: float = 1.0

    def __post_init__(self) -> None:
        if self.noise not in (None, "fixed", "learned"):
            raise ValueError(f"noise is {self.noise!r}: it must be None, 'fixed' or 'learned'.")
        if self.where not in ("all", "fully connected"):
            raise ValueError(f"where is {self.where!r}: it must be 'all' or 'fully connected'.")

    def linear(self, features: int) -> Iterator[nn.Module]:
        """Yield what follows a fully connected layer."""
        if self.noise is not None:
            yield self._layer(features)

    def convolution(self, channels: int, height: int, width: int) -> Iterator[nn.Module]:
        """Yield what follows a convolution."""
        if self.noise is not None and self.where == "all":
            yield self._layer(channels, height, width)

    def _layer(self, *shape: int) -> GaussianNoise:
        learned = self.noise == "learned"
        return GaussianNoise(
            *shape,
            sigma_init=self.sigma_init if learned else 1.0,
            trainable=learned,
            at_inference=self.at_inference,
        )


def mlp(
    activation: Activation = "ReLU",
    noise: Noise = None,
    *,
    in_features: int = 784,
    hidden: tuple[int, ...] = (100, 50),
    classes: int = 10,
    at_inference: bool = True,
    sigma_init: float = 1.0,
) -> nn.Sequential:
    """Build the perceptron 784-100-50-10 with one activation throughout (section 4.2).

    The text has "ReLU and Sigmoid at two hidden layers, respectively"; the tables and the code have
    one network of each. Takes images (N, C, H, W) with C*H*W = `in_features`.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}: it must be 'ReLU' or 'Sigmoid'.")
    after = NoiseAfter(noise, at_inference=at_inference, sigma_init=sigma_init)
    widths = (in_features, *hidden, classes)
    return nn.Sequential(nn.Flatten(), *_connected(widths, after, ACTIVATIONS[activation]))


def cnn(
    noise: Noise = None,
    where: Where = "all",
    *,
    image_shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    at_inference: bool = True,
    sigma_init: float = 1.0,
) -> nn.Sequential:
    """Build the convolutional network: 3x3 of 32 and of 64 kernels, then 128-128-10 (section 4.2).

    The paper names neither padding nor pooling, and its code cannot run: its linear layer takes
    1152 inputs where 3136 arrive, and it has one hidden layer of 128 where the paper has two. Here
    convolutions keep the image's size and a maximum over 2x2 follows each, as in the code, and the
    two hidden layers are the paper's. Takes images (N, *image_shape) of at least 4 pixels a side.
    """
    channels, height, width = image_shape
    after = NoiseAfter(noise, where, at_inference, sigma_init)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((channels, 32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1)]
        layers += [*after.convolution(outputs, height, width), nn.ReLU(), nn.MaxPool2d(2)]
        height, width = height // 2, width // 2
    head = _connected((64 * height * width, 128, 128, classes), after)
    return nn.Sequential(*layers, nn.Flatten(), *head)


def resnet18(
    noise: Noise = None,
    where: Where = "all",
    *,
    image_shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    width: int = 64,
    one_layer_head: bool = False,
    at_inference: bool = True,
    sigma_init: float = 1.0,
) -> nn.Sequential:
    """Build the ResNet18 with the head 512-256-128-10 (section 4.3).

    In the convolutional part noise follows the batch normalisation of the last convolution of each
    residual block, as in the paper; the code adds some after the first convolution too. `width` is
    the number of channels of the first stage, and the head's layers scale with it. With
    `one_layer_head` it is the network on which black-box attacks are made.
    """
    channels, height, breadth = image_shape
    after = NoiseAfter(noise, where, at_inference, sigma_init)
    stem = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    stages = _stages(width, (2, 2, 2, 2), (height, breadth), after)
    hidden = () if one_layer_head else (4 * width, 2 * width)
    head = _connected((8 * width, *hidden, classes), after)
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def resnet34(
    noise: Noise = None,
    where: Where = "all",
    *,
    image_shape: tuple[int, int, int] = (3, 64, 64),
    classes: int = 200,
    width: int = 64,
    one_layer_head: bool = False,
    at_inference: bool = True,
    sigma_init: float = 1.0,
) -> nn.Sequential:
    """Build the ResNet34 with the head 2048-1024-512-256-200 (section 4.4).

    The 2048 are 2x2 averages of 512 channels, as in the code, whose first convolution is 7x7 with
    stride 2 and whose first pooling keeps the size. The rest is as in `resnet18`.
    """
    channels, height, breadth = image_shape
    after = NoiseAfter(noise, where, at_inference, sigma_init)
    first = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    stem = [first, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, stride=1, padding=1)]
    stages = _stages(width, (3, 4, 6, 3), (_halved(height), _halved(breadth)), after)
    hidden = () if one_layer_head else (16 * width, 8 * width, 4 * width)
    head = _connected((32 * width, *hidden, classes), after)
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *head)


def _connected(
    widths: tuple[int, ...], after: NoiseAfter, activation: type[nn.Module] = nn.ReLU
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), *after.linear(outputs), activation()]
    return layers[:-1]


def _stages(
    width: int, depths: tuple[int, ...], size: tuple[int, int], after: NoiseAfter
) -> Iterator[nn.Module]:
    """Yield residual blocks: channels double and sides halve from each stage to the next."""
    height, breadth, inputs = *size, width
    for stage, depth in enumerate(depths):
        if stage:
            height, breadth = _halved(height), _halved(breadth)
        outputs = width * 2**stage
        for _ in range(depth):
            yield _block(inputs, outputs, after.convolution(outputs, height, breadth))
            inputs = outputs


def _block(inputs: int, outputs: int, noise: Iterator[nn.Module]) -> BasicBlock:
    """Build a block of two convolutions; where channels double, sides halve."""
    stride, shortcut = 1, None
    if inputs != outputs:
        stride = 2
        projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
    block = BasicBlock(inputs, outputs, stride, shortcut)
    block.bn2 = nn.Sequential(block.bn2, *noise)
    return block


def _halved(length: int) -> int:
    """Return how many pixels a convolution or pooling of stride 2 leaves."""
    return (length + 1) // 2


VARIANTS: dict[str, tuple[Noise, Where]] = {
    "": (None, "all"),
    "-MLP+": ("fixed", "fully connected"),
    "-A+": ("fixed", "all"),
    "-MLPN": ("learned", "fully connected"),
    "-AN": ("learned", "all"),
}
MARKS: dict[str, Noise] = {"": None, "+": "fixed", "N": "learned"}
RESNETS: dict[str, Callable[..., nn.Sequential]] = {"ResNet18": resnet18, "ResNet34": resnet34}

# By their names in Tables 3 to 6, and the sources of the black-box attacks.
NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    **{
        f"MLP{mark} {activation}": partial(mlp, activation, noise)
        for mark, noise in MARKS.items()
        for activation in ACTIVATIONS
    },
    **{
        name + ending: partial(build, *variant)
        for name, build in ({"CNN": cnn} | RESNETS).items()
        for ending, variant in VARIANTS.items()
    },
    "source MLP": partial(mlp, hidden=(300, 150)),
    **{f"source {name}": partial(build, one_layer_head=True) for name, build in RESNETS.items()},
}


def network(name: str, *, width: int = 64, **options: Any) -> nn.Sequential:
    """Build a network by its name in the published tables, such as "MLPN Sigmoid" or "CNN-A+".

    "source MLP", "source ResNet18" and "source ResNet34" are those on which black-box attacks are
    made. `width` is that of the ResNets and is ignored by the others; `options` are arguments of
    `mlp`, `cnn`, `resnet18` or `resnet34`. The network maps images in [0, 1] to logits
    (N, classes).
    """
    if name not in NETWORKS:
        raise ValueError(f"{name!r} is no network here: accepted are {', '.join(NETWORKS)}.")
    if "ResNet" in name:
        options["width"] = width
    return NETWORKS[name](**options)
