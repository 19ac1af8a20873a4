"""What attacks share: checks of their settings and images, and one number for each image."""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Attack = Callable[[nn.Module, Tensor, Tensor, torch.Generator | None], Tensor]
Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = get_args(Norm)


def check_at_least(least: float, **settings: float) -> None:
    """Raise ValueError, which names the setting, if one is below `least` or NaN."""
    for name, value in settings.items():
        if not value >= least:
            raise ValueError(f"{name} is {value}: it must be at least {least}.")


def check_positive(**settings: float) -> None:
    """Raise ValueError, which names the setting, if one is 0, negative or NaN."""
    for name, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}: it must be above 0.")


def check_one_of(accepted: Iterable[str], **settings: str) -> None:
    """Raise ValueError, which names the setting, if one is not among the accepted words."""
    words = tuple(accepted)
    for name, value in settings.items():
        if value not in words:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(words)}.")


def check_images(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless images (N, ...) are float in [0, 1] with an int64 label each."""
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} for {len(images)} images: "
            "an attack takes one label per image."
        )
    if len(labels) and labels.min() < 0:
        raise ValueError(f"the smallest label is {labels.min()}: classes count from 0.")
    # Not "< 0 or > 1", which lets NaN through.
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"pixels range from {images.min():.3g} to {images.max():.3g}: attacks take images in "
            "[0, 1]; put any other scaling into the model's first layer."
        )
    if not images.is_floating_point() or labels.dtype != torch.int64:
        raise ValueError(
            f"images are {images.dtype} and labels {labels.dtype}: an attack takes images of a "
            "floating type and labels of torch.int64."
        )


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
