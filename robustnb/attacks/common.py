"""What attacks share: their type, their norms, and one number for each image."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Attack = Callable[[nn.Module, Tensor, Tensor, torch.Generator | None], Tensor]
Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """View one value for each image (N,) as (N, 1, 1, 1), which broadcasts to `images`."""
    return values.view(-1, *[1] * (images.dim() - 1))


def l2_norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm (N,) of each of N images or perturbations."""
    return x.flatten(1).norm(dim=1)


def divided_by_largest(x: Tensor) -> Tensor:
    """Scale each of N gradients so that its largest element is 1 or -1; one of all zeros stays."""
    largest = x.flatten(1).abs().amax(1).clamp(min=torch.finfo(x.dtype).tiny)
    return x / per_image(largest, x)
