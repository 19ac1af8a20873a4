"""Saliency maps: which pixels move the class score, and whether those pixels matter."""

from functools import partial

import torch
from torch import Tensor, nn

from robustnb.checks import check_at_least, check_images, check_labels, check_whole, logits_of
from robustnb.models import evaluating, logits_and_slope
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
    check_whole(1, num_samples=num_samples)
    check_at_least(0, sigma=sigma)
    check_images(images, labels)
    _check_four(images)
    with torch.inference_mode(False), evaluating(model), noise_from(model, generator):
        images, labels = images.detach().clone(), labels.clone()  # not those of inference mode
        total = torch.zeros_like(images)
        for _ in range(num_samples):
            noisy = _noisy(images, sigma, generator)
            *_, gradient = logits_and_slope(model, noisy, partial(_scores, labels=labels))
            total += gradient.square() if squared else gradient
    return (total / num_samples).sum(1)


def deletion_curve(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    maps: Tensor,
    *,
    steps: int = 20,
    baseline: Tensor | float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the label's probability while the pixels that `maps` rank highest are removed.

    The curve (N, steps + 1) begins at the image and ends at `baseline`, a value or images that
    replace the pixels; column k has round(k / steps * H * W) of them replaced (Petsiuk et al.
    2018). The smaller the area under it, the better the maps (N, H, W). A stochastic network draws
    its noise anew at each column.
    """
    baseline = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    return _replaced(model, images, baseline.expand_as(images), labels, maps, steps, generator)


def insertion_curve(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    maps: Tensor,
    *,
    steps: int = 20,
    baseline: Tensor | float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the label's probability while the pixels that `maps` rank highest are inserted.

    The curve (N, steps + 1) begins at `baseline`, for which Petsiuk et al. (2018) blur the image,
    and ends at the image; arguments are those of `deletion_curve`. The larger the area under it,
    the better the maps.
    """
    baseline = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    return _replaced(model, baseline.expand_as(images), images, labels, maps, steps, generator)


def area_under(curves: Tensor) -> Tensor:
    """Return the area under each curve (N, steps + 1) over the share of pixels, from 0 to 1."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1))


def _replaced(
    model: nn.Module,
    before: Tensor,
    after: Tensor,
    labels: Tensor,
    maps: Tensor,
    steps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the label's probability while pixels of `before` become those of `after`."""
    _check_maps(before, labels, maps, steps)
    check_images(after)
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).view(maps.shape)
    columns = []
    with evaluating(model), torch.no_grad(), noise_from(model, generator):
        for step in range(steps + 1):
            replaced = ranks < round(step / steps * ranks[0].numel())
            pictures = torch.where(replaced.unsqueeze(1), after, before)
            columns.append(_scores(logits_of(model, pictures).softmax(1), labels))
    return torch.cat(columns, 1)


def _check_maps(images: Tensor, labels: Tensor, maps: Tensor, steps: int) -> None:
    check_whole(1, steps=steps)
    check_images(images, labels)
    _check_four(images)
    if maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"maps have the shape {tuple(maps.shape)} and images {tuple(images.shape)}: "
            "a curve needs one map (H, W) for each image (C, H, W)."
        )


def _noisy(images: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return images + sigma * noise


def _scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the label's logit (N, 1) of each image."""
    check_labels(logits, labels)
    return logits.gather(1, labels.unsqueeze(1))


def _check_four(images: Tensor) -> None:
    if images.dim() != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}: they must be (N, C, H, W).")
