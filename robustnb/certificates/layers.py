"""Layers that certificates take: a network cut into them, and affine ones as a matrix."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms import Normalize

from robustnb.checks import check_network
from robustnb.models import Scale

AFFINE: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Conv2d,
    nn.AvgPool2d,
    nn.Flatten,
    Scale,
    Normalize,
)


def layers_of(model: nn.Module, accepted: Sequence[type[nn.Module]]) -> list[nn.Module]:
    """Return the layers of `model`, a layer or a nested nn.Sequential, in their order.

    Raises ValueError for one that is of no accepted type itself, as a subclass may compute
    something else, and for one with a hook, which may too.
    """
    check_network(model)
    hooked = bool(model._forward_hooks or model._forward_pre_hooks)
    if type(model) is nn.Sequential and not hooked:
        return [layer for part in model for layer in layers_of(part, accepted)]
    if type(model) in accepted and not hooked:
        return [model]
    what = f"a {type(model).__name__}{' with a hook' if hooked else ''}"
    raise ValueError(
        f"the network has {what}: this bound takes an nn.Sequential of "
        f"{', '.join(kind.__name__ for kind in accepted)}, without subclasses and hooks."
    )


def as_matrix(layers: Sequence[nn.Module], images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights (outputs, inputs) and the biases (outputs,) of affine layers in a row.

    `images` (N, ...) have the shape and type of what the first layer takes. Gradients reach the
    parameters.
    """
    zeros, run = torch.zeros_like(images[:1]), nn.Sequential(*layers)
    bias: Tensor = run(zeros).flatten()
    weight = torch.func.jacrev(run)(zeros)
    return weight.reshape(len(bias), zeros.numel()), bias
