"""The smallest perturbation that fools a network (Zhang & Chen 2020, after Szegedy et al. 2013)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import CheckedAttack, l2_norm, per_image, runner_up
from robustnb.checks import check_at_least, check_positive, check_whole, logits_of
from robustnb.models import logits_and_slope


@dataclass(frozen=True)
class MinimumNorm(CheckedAttack):
    """Minimise c |r| + cross-entropy(f(x + r), t) by gradient until the label changes (eq. 5).

    The paper's y must be a wrong class t, since the sum is minimised: here it is the runner-up on
    the clean image. (Maximising the loss of the label stalls where softmax saturates.) `alpha` is
    the step and |r| the Euclidean norm of an image's perturbation, both in pixel units of [0, 1].
    An image is dropped from the batch as soon as it is misclassified; one that is misclassified
    already keeps r = 0. With `clip` pixels stay in [0, 1]; the paper has no such constraint.
    """

    c: float = 0.02
    alpha: float = 0.025
    steps: int = 200
    clip: bool = True

    def __post_init__(self) -> None:
        check_at_least(0, c=self.c)
        check_positive(alpha=self.alpha)
        check_whole(1, steps=self.steps)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        result = images.clone()
        with torch.no_grad():
            logits = logits_of(model, images)
        targets = runner_up(logits, labels)
        active = (logits.argmax(1) == labels).nonzero().squeeze(1)
        for _ in range(self.steps):
            if not len(active):
                break
            result[active] = self._step(model, result[active], images[active], targets[active])
            with torch.no_grad():
                right = logits_of(model, result[active]).argmax(1) == labels[active]
            active = active[right]
        return result

    def _step(self, model: nn.Module, current: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        score = partial(F.cross_entropy, target=targets, reduction="sum")
        *_, gradient = logits_and_slope(model, current, score)
        offset = current - images
        lengths = per_image(l2_norm(offset), images)
        slope = torch.where(lengths > 0, offset / lengths, 0.0)  # |r| has a kink at r = 0
        moved = current - self.alpha * (gradient + self.c * slope)
        return moved.clamp(0, 1) if self.clip else moved
