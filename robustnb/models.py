"""Networks of the book. They take images in [0, 1] and return logits."""

import copy
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from robustnb.checks import NotFinite, check_network, logits_of, warn_once

Layer = Callable[[int, int], nn.Module]


class Scale(nn.Module):
    """Multiply images in [0, 1] by `factor`: the pixel range that a paper trained on."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        """Return `factor * images`."""
        return self.factor * images

    def extra_repr(self) -> str:
        """Show the factor when the network is printed."""
        return f"factor={self.factor:g}"


def fully_connected(
    name: str, *, in_features: int = 784, scale: float = 1.0, layer: Layer = nn.Linear
) -> nn.Sequential:
    """Build a fully connected ReLU network by its name in the papers, such as FC-100-100-10.

    `layer(in_features, out_features)` makes each linear layer, so that the same call builds plain
    and stochastic networks. Takes images (N, C, H, W) with C*H*W = `in_features`; returns logits
    (N, classes), where classes is the name's last number.
    """
    if not re.fullmatch(r"FC(-[1-9]\d*)+", name):
        raise ValueError(
            f"{name!r} is no network: write FC and the layer widths, as FC-100-100-10."
        )
    widths = [in_features, *(int(width) for width in name.split("-")[1:])]
    layers: list[nn.Module] = [Scale(scale), nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [layer(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def copied(model: nn.Module, shared: Iterable[object] = ()) -> nn.Module:
    """Return a copy of `model` without the results that its layers keep of a training pass.

    What is in `shared`, such as generators, is not copied: both use the same.
    """
    attributes = (value for module in model.modules() for value in vars(module).values())
    results = (value for value in attributes if isinstance(value, Tensor) and not value.is_leaf)
    instead: dict[int, Any] = {id(value): None for value in results}
    return copy.deepcopy(model, instead | {id(value): value for value in shared})


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` in evaluation mode inside the block; then give each module its own mode back."""
    check_network(model)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def predict(model: nn.Module, images: Tensor, batch_size: int = 10_000) -> Tensor:
    """Return the logits (N, classes) of one pass in evaluation mode, without gradients.

    Raises ValueError for an answer that is not such logits (see `logits_of`).
    """
    with evaluating(model), torch.no_grad():
        return torch.cat([logits_of(model, batch) for batch in images.split(batch_size)])


def logits_and_slope(
    model: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (N, classes), their `score`, and the input gradient of its sum.

    Gradients of the network's parameters are neither computed nor touched. Raises ValueError for a
    network whose logits have no gradient in its images, and NotFinite where it is NaN.
    """
    with torch.inference_mode(False), torch.enable_grad():
        inputs = (images.clone() if images.is_inference() else images).detach().requires_grad_()
        logits = _followed(model, inputs)
        scores, gradient = score(logits), None
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores.sum(), inputs, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "the network's logits have no gradient in its images, as after no_grad, detach or "
            "NumPy inside it: only attacks without gradients work on it, such as Square."
        )
    _check_gradient(model, gradient)
    return logits.detach(), scores.detach(), gradient


def _check_gradient(model: nn.Module, gradient: Tensor) -> None:
    """Raise NotFinite where a gradient (N, ...) is NaN; warn once if all of several are 0."""
    if not gradient.numel():
        return
    low, high = torch.stack(gradient.aminmax()).tolist()  # NaN if one is
    if math.isnan(low):
        wrong = gradient.isnan().flatten(1).any(1)
        raise NotFinite(
            f"the gradient of the logits is NaN for {wrong.sum()} of {len(wrong)} images, "
            "as that of a root or a norm is at 0: no attack along it means anything."
        )
    # A single image may well be one where softmax saturates.
    if low == high == 0 and len(gradient) > 1:
        warn_once(
            model,
            "gradient",
            f"The gradient is exactly 0 for all {len(gradient)} images, as after torch.round or "
            "where softmax saturates: attacks along it change nothing, and the network only looks "
            'robust. Try loss="margin", or an attack without gradients, such as Square.',
        )


def _followed(model: nn.Module, inputs: Tensor) -> Tensor:
    try:
        return logits_of(model, inputs)
    except RuntimeError as error:
        if not any(weights.is_inference() for weights in model.parameters()):
            raise
        raise ValueError(
            "the network was made under torch.inference_mode, where nothing has a gradient: make "
            "it outside, or take a copy by copy.deepcopy outside."
        ) from error
