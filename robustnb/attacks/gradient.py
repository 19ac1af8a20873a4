"""Attacks along the gradient: one step (FGSM) and many (PGD), within a ball around the image."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import (
    NORMS,
    CheckedAttack,
    Norm,
    check_eps,
    divided_by_largest,
    l2_norm,
    per_image,
)
from robustnb.attacks.hidden_noise import warn_if_noise_is_hidden
from robustnb.checks import check_at_least, check_labels, check_one_of, check_whole, logits_of
from robustnb.metrics import margin
from robustnb.models import logits_and_slope

LossName = Literal["cross-entropy", "margin"]


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy (N,) of each image."""
    check_labels(logits, labels)
    return F.cross_entropy(logits, labels, reduction="none")


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropies,
    "margin": margin,
}


@dataclass(frozen=True)
class FGSM(CheckedAttack):
    """Move every pixel by `eps` against the label (Goodfellow et al. 2015).

    `eps` is in pixel units of [0, 1]; the gradient is averaged over `eot_samples` passes.
    """

    eps: float
    eot_samples: int = 1
    loss: LossName = "cross-entropy"

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_whole(1, eot_samples=self.eot_samples)
        check_one_of(LOSSES, loss=self.loss)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        gradient = averaged_gradient(model, images, labels, self.loss, self.eot_samples)
        return (images + self.eps * gradient.sign()).clamp(0, 1)


@dataclass(frozen=True)
class PGD(CheckedAttack):
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
        check_one_of(LOSSES, loss=self.loss)
        check_one_of(NORMS, norm=self.norm)
        check_eps(self.eps, self.norm)
        check_at_least(0, alpha=self.alpha)
        check_whole(1, steps=self.steps, restarts=self.restarts, eot_samples=self.eot_samples)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        warn_if_noise_is_hidden(model, images)
        best, best_margin = images, torch.full(labels.shape, -torch.inf, device=images.device)
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
            offset = in_ball(images, self.eps, self.norm, generator)
            found = project(images + offset, images, self.eps, self.norm)
        for _ in range(self.steps):
            gradient = averaged_gradient(model, found, labels, self.loss, self.eot_samples)
            stepped = found + self.alpha * steepest(gradient, self.norm)
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

    def score(logits: Tensor) -> Tensor:
        return LOSSES[loss](logits, labels)

    values, gradients = images.new_zeros(len(images)), torch.zeros_like(images)
    for _ in range(eot_samples):
        _, value, gradient = logits_and_slope(model, images, score)
        values += value / eot_samples
        gradients += gradient / eot_samples
    return values, gradients


def averaged_margin(model: nn.Module, images: Tensor, labels: Tensor, eot_samples: int) -> Tensor:
    """Return the margin (N,) of the mean logits over `eot_samples` passes, without gradients."""
    return margin(averaged_logits(model, images, eot_samples), labels)


def averaged_logits(model: nn.Module, images: Tensor, eot_samples: int) -> Tensor:
    """Return the mean logits (N, classes) over `eot_samples` passes, without gradients."""
    with torch.no_grad():
        return torch.stack([logits_of(model, images) for _ in range(eot_samples)]).mean(0)


def project(images: Tensor, centres: Tensor, eps: float, norm: Norm) -> Tensor:
    """Move `images` to the nearest point within `eps` of `centres` in `norm`, then into [0, 1].

    The clamp cannot leave the ball: the centres are in [0, 1] themselves.
    """
    if norm == "linf":
        return images.clamp(centres - eps, centres + eps).clamp(0, 1)
    offset = images - centres
    shrink = (eps / _divisor(offset)).clamp(max=1)
    return (centres + shrink * offset).clamp(0, 1)


def in_ball(images: Tensor, eps: float, norm: Norm, generator: torch.Generator | None) -> Tensor:
    """Draw an offset for each image, uniform in the ball."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-eps, eps, generator=generator)
    direction = torch.empty_like(images).normal_(generator=generator)
    share = torch.empty_like(images.flatten(1)[:, 0]).uniform_(generator=generator)
    radius = eps * share ** (1 / math.prod(images.shape[1:]))
    return per_image(radius, images) * direction / _divisor(direction)


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the step of length 1 in `norm` along which the loss rises most: 0 where it is flat."""
    if norm == "linf":
        return gradient.sign()
    # The squares of a small gradient underflow; those of one whose largest element is 1 do not.
    scaled = divided_by_largest(gradient)
    return scaled / _divisor(scaled)


def _divisor(x: Tensor) -> Tensor:
    """Return L2 norms by which an offset or gradient of all zeros can be divided: it stays zero."""
    return per_image(l2_norm(x).clamp(min=torch.finfo(x.dtype).tiny), x)
