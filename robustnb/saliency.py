"""Saliency maps: which pixels move the class score."""

import torch
from torch import Tensor, nn

from robustnb.models import evaluating
from robustnb.randomness import noise_from


def smooth_grad(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float = 0.15,
    num_samples: int = 25,
    squared: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Average the gradient of the label's logit over noisy copies of each image.

    Takes images (N, C, H, W) and returns maps (N, H, W), summed over channels. With `squared` the
    gradients are squared before they are averaged (Xiao et al. 2021, eq. 8); without, it is
    SmoothGrad as Smilkov et al. (2017) define it. `sigma` is the noise's standard deviation in
    pixel units of [0, 1]; a stochastic network draws its own noise anew for each copy.
    """
    if num_samples < 1 or sigma < 0:
        raise ValueError(
            f"num_samples is {num_samples} and sigma is {sigma}: "
            "smooth_grad needs at least one sample and sigma of at least 0."
        )
    total = torch.zeros_like(images)
    with evaluating(model), noise_from(model, generator):
        for _ in range(num_samples):
            gradient = _score_gradient(model, _noisy(images, sigma, generator), labels)
            total += gradient.square() if squared else gradient
    return (total / num_samples).sum(1)


def _noisy(images: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + sigma * noise


def _score_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    images = images.requires_grad_()
    with torch.enable_grad():
        scores = model(images).gather(1, labels.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(scores, images)
    return gradient
