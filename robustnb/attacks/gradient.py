"""Attacks along the gradient: one step (FGSM) and many (PGD), within a ball around the image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import NORMS, Norm, divided_by_largest, l2_norm, per_image
from robustnb.checks import check_at_least, check_images, check_one_of
from robustnb.metrics import margin
from robustnb.models import evaluating
from robustnb.randomness import noise_from

LossName = Literal["cross-entropy", "margin"]
LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": partial(F.cross_entropy, reduction="none"),
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
        check_at_least(0, eps=self.eps)
        check_at_least(1, eot_samples=self.eot_samples)
        check_one_of(LOSSES, loss=self.loss)

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
    """Take `steps` that increase the loss, projecting back after each (Madry et al. 2018).

    Steps have length `alpha` and the ball radius `eps`, both in `norm` and in pixel units of
    [0, 1]. Each restart begins at a random point of the ball (or at the image, without
    `random_start`); each image keeps the restart with the largest margin. The gradient is averaged
    over `eot_samples` passes: 1 is enough for a network that is not stochastic. The loss "margin"
    does not saturate where softmax does.
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
        check_at_least(0, eps=self.eps, alpha=self.alpha)
        check_at_least(1, steps=self.steps, restarts=self.restarts, eot_samples=self.eot_samples)
        check_one_of(LOSSES, loss=self.loss)
        check_one_of(NORMS, norm=self.norm)

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
                best = torch.where(per_image(better, images), found, best)
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
    return averaged_loss_and_gradient(model, images, labels, loss, eot_samples)[1]


def averaged_loss_and_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, loss: LossName, eot_samples: int
) -> tuple[Tensor, Tensor]:
    """Return each image's loss (N,) and its input gradient, means over `eot_samples` passes."""
    values, gradients = images.new_zeros(len(images)), torch.zeros_like(images)
    for _ in range(eot_samples):
        inputs = images.detach().requires_grad_()
        with torch.enable_grad():
            value = LOSSES[loss](model(inputs), labels)
            (gradient,) = torch.autograd.grad(value.sum(), inputs)
        values += value.detach() / eot_samples
        gradients += gradient / eot_samples
    return values, gradients


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
    shrink = (eps / _divisor(offset)).clamp(max=1)
    return (centres + shrink * offset).clamp(0, 1)


def _in_ball(images: Tensor, eps: float, norm: Norm, generator: torch.Generator | None) -> Tensor:
    """Draw an offset for each image, uniform in the ball."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    direction = torch.empty_like(images).normal_(generator=generator)
    share = torch.empty_like(images.flatten(1)[:, 0]).uniform_(generator=generator)
    radius = eps * share ** (1 / math.prod(images.shape[1:]))
    return per_image(radius, images) * direction / _divisor(direction)


def _steepest(gradient: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    # The squares of a small gradient underflow; those of one whose largest element is 1 do not.
    scaled = divided_by_largest(gradient)
    return scaled / _divisor(scaled)


def _divisor(x: Tensor) -> Tensor:
    """Return L2 norms by which an offset or gradient of all zeros can be divided: it stays zero."""
    return per_image(l2_norm(x).clamp(min=torch.finfo(x.dtype).tiny), x)
