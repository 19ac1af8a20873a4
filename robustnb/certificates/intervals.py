"""Interval bound propagation: a box goes through the network layer by layer (Gowal et al. 2018).

See `robustnb.certificates` for the sign of a margin, and for what rounding leaves open.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustnb.certificates.boxes import Box, least, margin_rows, smallest
from robustnb.certificates.layers import AFFINE
from robustnb.certificates.problem import posed

ACCEPTED = (*AFFINE, nn.ReLU, nn.MaxPool2d)


def layer_bounds(model: nn.Module, images: Tensor, eps: float) -> list[Box]:
    """Return bounds of the pixels within `eps` of images (N, ...), and of each layer's outputs.

    They are in float64. Raises ValueError for a layer that is not in ACCEPTED.
    """
    with posed(model, images, eps, ACCEPTED) as problem:
        boxes = [problem.box]
        for layer in problem.layers:
            boxes.append(through(layer, boxes[-1]))
        return boxes


def logit_bounds(model: nn.Module, images: Tensor, eps: float) -> Box:
    """Return bounds of the logits (N, classes) over all images within `eps` of images (N, ...)."""
    return layer_bounds(model, images, eps)[-1]


def margin_bounds(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return lower bounds (N, classes) of the label's logit minus each logit, within `eps`.

    The last layer must be nn.Linear; the subtraction is folded into it, which bounds the margin
    more tightly than the bounds of two logits do. They are in float64, 0 at the label itself.
    """
    with posed(model, images, eps, ACCEPTED, labels) as problem:
        return propagated_margins(problem.layers, problem.box, labels)


def smallest_margin(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return a lower bound (N,) of the margin over all images within `eps` (see margin_bounds)."""
    return smallest(margin_bounds(model, images, labels, eps), labels)


def certified(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return whether intervals prove each image (N,) to keep its label within `eps`."""
    return smallest_margin(model, images, labels, eps) > 0


def propagated_margins(layers: Sequence[nn.Module], box: Box, labels: Tensor) -> Tensor:
    """Return lower bounds (N, classes) of the label's logit minus each, in the type of `box`.

    Gradients reach the parameters, as training needs.
    """
    *before, last = layers
    if type(last) is not nn.Linear:
        raise ValueError(
            f"the last layer is a {type(last).__name__}: it must be nn.Linear, into which the "
            "margin is folded."
        )
    for layer in before:
        box = through(layer, box)
    bias = last.weight.new_zeros(last.out_features) if last.bias is None else last.bias
    rows, constant = margin_rows(last.weight, bias, labels)
    return least(rows, box) + constant


def through(layer: nn.Module, box: Box) -> Box:
    """Return bounds of what `layer` makes of the elements of `box`.

    A weighted sum takes the centre along, and the radius by the magnitudes of its weights. All
    other layers rise, or all fall, with each element, so that the ends go to the ends.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d):
        centre, radius = layer(box.centre), _by_magnitudes(layer, box.radius)
        return Box(centre - radius, centre + radius)
    ends = layer(box.lower), layer(box.upper)
    return Box(torch.minimum(*ends), torch.maximum(*ends))


def _by_magnitudes(layer: nn.Linear | nn.Conv2d, radius: Tensor) -> Tensor:
    magnitudes = {
        name: values.abs() if name == "weight" else torch.zeros_like(values)
        for name, values in layer.named_parameters()
    }
    widened: Tensor = functional_call(layer, magnitudes, radius)
    return widened
