"""Attacks along the gradient: one step (FGSM) and many (PGD), within a ball around the image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.metrics import margin
from robustnb.models import evaluating
from robustnb.randomness import noise_from

Norm = Literal["linf", "l2"]
LossName = Literal["cross-entropy", "margin"]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "margin": margin,
}


@dataclass(frozen=True)
class FGSM:
    """Move every pixel by `eps` against the label (Goodfellow et al. 2015).

    `eps` is in pixel units of [0, 1]; the gradient is averaged over `eot_samples` passes.
    """

    eps: float
    eot_samples: int = 1
    loss: LossName = "cross-entropy"

    def __post_init__(self) -> None:
        _check_fields(self.eps, self.eot_samples, self.loss)

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return adversarial images of the shape of `images` (N, C, H, W), all in [0, 1]."""
        check_images(images, labels)
        with evaluating(model), noise_from(model, generator):
            gradient = averaged_gradient(model, images, labels, self.loss, self.eot_samples)
        return (images + self.eps * gradient.sign()).clamp(0, 1)


@dataclass(frozen=True)
class PGD:
    """Take `steps` of length `alpha` uphill, each followed by a projection (Madry et al. 2018).

    The ball has radius `eps` in `norm`, in pixel units of [0, 1]. Each restart begins at a random
    point of the ball (or at the image, without `random_start`); for each image the restart with the
    largest margin counts. The gradient is averaged over `eot_samples` passes: 1 is enough for a
    network that is not stochastic. The loss "margin" does not saturate where softmax does.
    """

    eps: float
    alpha: float
    steps: int
    restarts: int = 1
    random_start: bool = True
    eot_samples: int = 1
    loss: LossName = "cross-entropy"
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        _check_fields(self.eps, self.eot_samples, self.loss)
        if self.alpha < 0 or min(self.steps, self.restarts) < 1:
            raise ValueError(
                f"alpha is {self.alpha}, steps {self.steps}, restarts {self.restarts}: "
                "PGD needs alpha of at least 0 and at least one step and one restart."
            )
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm is {self.norm!r}: it must be 'linf' or 'l2'.")

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return adversarial images of the shape of `images` (N, C, H, W), all in [0, 1]."""
        check_images(images, labels)
        best, best_margin = images, torch.full(labels.shape, -torch.inf, device=images.device)
        with evaluating(model), noise_from(model, generator):
            for _ in range(self.restarts):
                found = self._climb(model, images, labels, generator)
                reached = averaged_margin(model, found, labels, self.eot_samples)
                better = reached > best_margin
                best = torch.where(_per_image(better, images), found, best)
                best_margin = torch.where(better, reached, best_margin)
        return best

    def _climb(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        found = images
        if self.random_start:
            offset = _in_ball(images, self.eps, self.norm, generator)
            found = project(images + offset, images, self.eps, self.norm)
        for _ in range(self.steps):
            gradient = averaged_gradient(model, found, labels, self.loss, self.eot_samples)
            stepped = found + self.alpha * _steepest(gradient, self.norm)
            found = project(stepped, images, self.eps, self.norm)
        return found


def averaged_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, loss: LossName, eot_samples: int
) -> Tensor:
    """Return the input gradient of the summed loss, the mean over `eot_samples` passes.

    The mean of gradients is the expectation over transformation of Athalye et al. (2018). Gradients
    of the network's parameters are neither computed nor touched.
    """
    loss_of = LOSSES[loss]
    gradient = torch.zeros_like(images)
    for _ in range(eot_samples):
        inputs = images.detach().requires_grad_()
        with torch.enable_grad():
            (sample,) = torch.autograd.grad(loss_of(model(inputs), labels).sum(), inputs)
        gradient += sample / eot_samples
    return gradient


def averaged_margin(model: nn.Module, images: Tensor, labels: Tensor, eot_samples: int) -> Tensor:
    """Return the margin (N,) of the mean logits over `eot_samples` passes, without gradients."""
    with torch.no_grad():
        logits = torch.stack([model(images) for _ in range(eot_samples)]).mean(0)
    return margin(logits, labels)


def project(images: Tensor, centres: Tensor, eps: float, norm: Norm) -> Tensor:
    """Move `images` to the nearest point within `eps` of `centres` in `norm`, then into [0, 1].

    The clamp cannot leave the ball: the centres are in [0, 1] themselves.
    """
    if norm == "linf":
        return images.clamp(centres - eps, centres + eps).clamp(0, 1)
    offset = images - centres
    shrink = (eps / _l2_length(offset)).clamp(max=1)
    return (centres + shrink * offset).clamp(0, 1)


def _in_ball(images: Tensor, eps: float, norm: Norm, generator: torch.Generator | None) -> Tensor:
    """Draw an offset for each image, all points of the ball alike."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    direction = torch.empty_like(images).normal_(generator=generator)
    share = torch.empty_like(images.flatten(1)[:, 0]).uniform_(generator=generator)
    radius = eps * share ** (1 / math.prod(images.shape[1:]))
    return _per_image(radius, images) * direction / _l2_length(direction)


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


def _check_fields(eps: float, eot_samples: int, loss: str) -> None:
    if not eps >= 0 or eot_samples < 1:
        raise ValueError(
            f"eps is {eps} and eot_samples {eot_samples}: "
            "eps must be at least 0 and eot_samples at least 1."
        )
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}: it must be one of {', '.join(LOSSES)}.")


def _steepest(gradient: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    # The squares of a small gradient underflow; those of one whose largest element is 1 do not.
    largest = gradient.flatten(1).abs().amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
    scaled = gradient / _per_image(largest, gradient)
    return scaled / _l2_length(scaled)


def _l2_length(x: Tensor) -> Tensor:
    # The floor keeps an all-zero offset or gradient at zero instead of 0 / 0.
    length = x.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
    return _per_image(length, x)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *[1] * (images.dim() - 1))
