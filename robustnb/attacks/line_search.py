"""The first step along one direction that changes the label: FGS and hot/cold.

So Rozsa, Günther & Boult (2016) attack their BANG networks: a perturbation may be of any size, and
an attempt succeeds if its direction leads to any misclassification. Images have 8 bits: pixels are
rounded to integers from 0 to 255, and steps are in the same units.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robustnb.attacks.common import CheckedAttack, divided_by_largest, per_image, runner_up
from robustnb.attacks.gradient import LOSSES, LossName
from robustnb.checks import check_finite, check_one_of, check_positive
from robustnb.models import copied, logits_and_slope, predict
from robustnb.random_sources import held_generators

BATCH = 250  # images a pass: what a layer hands to the next then fits a processor's cache
LONGEST = 2**16  # by then nearly all pixels that can move are at 0 or 255


@dataclass(frozen=True)
class FastGradientSign(CheckedAttack):
    """Take the smallest step along the sign of the gradient that changes the label.

    Every step from 1 to 255 is tried in turn. The gradient is that of `loss` on the clean image.
    Where softmax saturates, the gradient of the cross-entropy is 0 in float32: there is no
    direction, and the image stays as it is. Such a network only looks robust. To show it, `double`
    computes the gradient in float64, `scale` multiplies the logits by a positive number, which
    changes no label, and the loss "margin" does not saturate. An image that no step fools, or that
    is misclassified already, is returned unchanged.
    """

    loss: LossName = "cross-entropy"
    double: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_one_of(LOSSES, loss=self.loss)
        check_positive(scale=self.scale)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        return _search(model, images, labels, self._directions, _first_of_all)

    def _directions(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        asked, inputs = model, images
        if self.double:
            # Copies of its generators would repeat their draws.
            asked = copied(model, shared=held_generators(model)).double()
            inputs = images.double()
        *_, gradient = logits_and_slope(
            asked, inputs, lambda logits: LOSSES[self.loss](self.scale * logits, labels)
        )
        return gradient.sign().to(images.dtype)


@dataclass(frozen=True)
class HotCold(CheckedAttack):
    """Move towards the runner-up class and away from the label until the label changes (HC1).

    The direction is the gradient of sum_j omega_j h_j, where h are the logits and omega is constant
    (Rozsa, Rudd & Boult 2016). With the weights "paper", omega is |h| for the runner-up, which is
    hot, -h for the label, which is cold, and 0 for the others; with "unit" it is 1, -1 and 0. If
    the label's logit is negative, the paper's weights increase it instead of decreasing it. To show
    this, `shift` is added to the logits before omega is computed: it changes no label and should
    change no result.

    The direction is scaled so that its largest element is 1. Steps are doubled until the label
    changes; a binary search then finds an integer step that changes it where the one before does
    not. An image that no step fools, or that is misclassified already, is returned unchanged.
    """

    weights: Literal["paper", "unit"] = "paper"
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_one_of(("paper", "unit"), weights=self.weights)
        check_finite(shift=self.shift)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        return _search(model, images, labels, self._directions, _doubled_then_halved)

    def _directions(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        *_, gradient = logits_and_slope(
            model, images, lambda h: self._omega(h.detach() + self.shift, labels) * h
        )
        return divided_by_largest(gradient)

    def _omega(self, h: Tensor, labels: Tensor) -> Tensor:
        cold = labels.unsqueeze(1)
        hot = runner_up(h, labels).unsqueeze(1)
        omega = torch.zeros_like(h)
        if self.weights == "unit":
            return omega.scatter(1, hot, 1.0).scatter(1, cold, -1.0)
        return omega.scatter(1, hot, h.gather(1, hot).abs()).scatter(1, cold, -h.gather(1, cold))


@dataclass(frozen=True, eq=False)
class _Rays:
    """Images of integer `pixels` (N, C, H, W), and for each the direction in which it is moved."""

    model: nn.Module
    pixels: Tensor
    directions: Tensor
    labels: Tensor

    def searched(self) -> Tensor:
        """Return the indices of the images that are classified correctly and have a direction."""
        right = predict(self.model, self.pixels / 255, BATCH).argmax(1) == self.labels
        return (right & self.directions.flatten(1).any(1)).nonzero().squeeze(1)

    def moved(self, which: Tensor, steps: Tensor) -> Tensor:
        """Return the images `which`, each moved by its step and rounded, in [0, 1]."""
        offsets = per_image(steps, self.pixels) * self.directions[which]
        return (self.pixels[which] + offsets).round().clamp(0, 255) / 255

    def fools(self, which: Tensor, steps: Tensor) -> Tensor:
        """Return whether each of the images `which`, moved by its step, gets another label."""
        return predict(self.model, self.moved(which, steps), BATCH).argmax(1) != self.labels[which]

    def moved_or(self, images: Tensor, steps: Tensor) -> Tensor:
        """Return each of `images` moved by its step, and unchanged if its step is 0."""
        found, which = images.clone(), steps.nonzero().squeeze(1)
        found[which] = self.moved(which, steps[which])
        return found


def _search(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    directions_of: Callable[[nn.Module, Tensor, Tensor], Tensor],
    steps_of: Callable[[_Rays], Tensor],
) -> Tensor:
    pixels = (255 * images).round()
    batches = zip((pixels / 255).split(BATCH), labels.split(BATCH), strict=True)
    directions = torch.cat([directions_of(model, *batch) for batch in batches])
    rays = _Rays(model, pixels, directions, labels)
    return rays.moved_or(images, steps_of(rays))


def _first_of_all(rays: _Rays) -> Tensor:
    """Return the smallest step from 1 to 255 that fools, or 0 where none does (N,)."""
    steps, active = rays.pixels.new_zeros(len(rays.pixels)), rays.searched()
    for step in range(1, 256):
        if not len(active):
            break
        fooled = rays.fools(active, steps.new_full(active.shape, step))
        steps[active[fooled]] = step
        active = active[~fooled]
    return steps


def _doubled_then_halved(rays: _Rays) -> Tensor:
    """Return an integer step that fools where the step before it does not, or 0 (N,)."""
    lower, upper = rays.pixels.new_zeros(2, len(rays.pixels))
    active = missed = rays.searched()
    step = 1
    while len(missed) and step <= LONGEST:
        upper[missed] = step
        missed = missed[~rays.fools(missed, upper[missed])]
        lower[missed] = step
        step *= 2
    upper[missed] = 0
    active = active[upper[active] - lower[active] > 1]
    while len(active):
        middle = (lower[active] + upper[active]) / 2
        fooled = rays.fools(active, middle)
        upper[active[fooled]], lower[active[~fooled]] = middle[fooled], middle[~fooled]
        active = active[upper[active] - lower[active] > 1]
    return upper
