"""Caffe's two small convolutional networks with the dropout of BANG, and Caffe's optimizer.

LeNet is for gray images, "CIFAR-10 quick" for colour (Jia et al. 2014). Rozsa, Günther & Boult
(2016) added a dropout layer before the last layer of each. Layers keep their names in Caffe.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from robustnb.dropout import Dropout
from robustnb.models import Scale


class RawPixels(nn.Module):
    """Turn images in [0, 1] into raw pixels, 0 to 255, and subtract the mean image.

    `mean` (C, H, W) is the mean of the training images in [0, 1]. It is kept with the weights.
    """

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Return `255 * (images - mean)`."""
        return 255 * (images - self.mean)

    def extra_repr(self) -> str:
        """Show the shape of the mean image when the network is printed."""
        return f"mean of shape {tuple(self.mean.shape)}"


def lenet(in_channels: int = 1, size: int = 28, classes: int = 10) -> nn.Sequential:
    """Build LeNet as Caffe distributes it, without ReLU after its convolutions, with dropout.

    Takes images (N, in_channels, size, size) and returns logits (N, classes). Caffe divides raw
    pixels by 256, hence the first layer. Weights start uniform in +-sqrt(3 / fan_in), biases at 0.
    """
    if size < 13:
        raise ValueError(f"size is {size}: two 5x5 convolutions need images of 13 pixels or more.")
    side = ((size - 3) // 2 - 3) // 2  # Caffe rounds up where it pools
    layers: dict[str, nn.Module] = {
        "scale": Scale(255 / 256),
        "conv1": nn.Conv2d(in_channels, 20, 5),
        "pool1": nn.MaxPool2d(2, ceil_mode=True),
        "conv2": nn.Conv2d(20, 50, 5),
        "pool2": nn.MaxPool2d(2, ceil_mode=True),
        "flatten": nn.Flatten(),
        "ip1": nn.Linear(50 * side * side, 500),
        "relu1": nn.ReLU(),
        "dropout": Dropout(),
        "ip2": nn.Linear(500, classes),
    }
    for layer in _with_weights(layers):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    return _channels_last(layers)


def cifar10_quick(
    mean: Tensor | None = None, in_channels: int = 3, size: int = 32, classes: int = 10
) -> nn.Sequential:
    """Build Caffe's "CIFAR-10 quick" with dropout; it sees raw pixels less the mean image.

    Takes images (N, in_channels, size, size) and returns logits (N, classes). `mean` is that of the
    training images, in [0, 1]; without one it is 0. There is no ReLU between the two linear layers.
    Weights start as Gaussians of standard deviation 0.0001, 0.01, 0.01, 0.1, 0.1, biases at 0.
    """
    if size < 8:
        raise ValueError(f"size is {size}: three poolings need images of 8 pixels or more.")
    side = size // 8
    layers: dict[str, nn.Module] = {
        "centre": RawPixels(torch.zeros(in_channels, size, size) if mean is None else mean),
        "conv1": nn.Conv2d(in_channels, 32, 5, padding=2),
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(32, 32, 5, padding=2),
        "relu2": nn.ReLU(),
        "pool2": nn.AvgPool2d(3, 2, ceil_mode=True),
        "conv3": nn.Conv2d(32, 64, 5, padding=2),
        "relu3": nn.ReLU(),
        "pool3": nn.AvgPool2d(3, 2, ceil_mode=True),
        "flatten": nn.Flatten(),
        "ip1": nn.Linear(64 * side * side, 64),
        "dropout": Dropout(),
        "ip2": nn.Linear(64, classes),
    }
    for layer, std in zip(_with_weights(layers), (1e-4, 0.01, 0.01, 0.1, 0.1), strict=True):
        nn.init.normal_(layer.weight, std=std)
    return _channels_last(layers)


def _with_weights(layers: dict[str, nn.Module]) -> list[nn.Conv2d | nn.Linear]:
    """Return the layers that learn, their biases set to 0."""
    learning = [layer for layer in layers.values() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in learning:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return learning


def _channels_last(layers: dict[str, nn.Module]) -> nn.Sequential:
    """Compose named layers, with weights in the order in which a processor pools fastest."""
    model: nn.Sequential = nn.Sequential(OrderedDict(layers)).to(memory_format=torch.channels_last)
    return model


def caffe_sgd(
    model: nn.Module, lr: float, momentum: float = 0.9, weight_decay: float = 5e-4
) -> SGD:
    """Make the optimizer of Caffe's examples: biases learn twice as fast, and decay as weights do.

    Caffe multiplies by the learning rate before it adds to the momentum, torch after. They differ
    only in the few steps that follow a jump of the learning rate.
    """
    named = list(model.named_parameters())
    weights = [parameter for name, parameter in named if not name.endswith("bias")]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "lr": 2 * lr}]
    return SGD(groups, lr, momentum=momentum, weight_decay=weight_decay)


def inverse_decay(optimizer: Optimizer, gamma: float = 1e-4, power: float = 0.75) -> LambdaLR:
    """Decay every learning rate by (1 + gamma * iteration) ** -power, Caffe's policy "inv".

    Takes a step per minibatch.
    """
    return LambdaLR(optimizer, lambda iteration: (1 + gamma * iteration) ** -power)
