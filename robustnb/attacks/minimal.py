"""The smallest perturbation that fools a network (Zhang & Chen 2020, after Szegedy et al. 2013)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import l2_norm
from robustnb.checks import check_at_least, check_images, check_positive
from robustnb.models import evaluating
from robustnb.randomness import noise_from


@dataclass(frozen=True)
class MinimumNorm:
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
        check_at_least(1, steps=self.steps)

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return adversarial images of the shape of `images` (N, C, H, W)."""
        check_images(images, labels)
        result = images.clone()
        with evaluating(model), noise_from(model, generator):
            with torch.no_grad():
                logits = model(images)
            targets = logits.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)
            active = (logits.argmax(1) == labels).nonzero().squeeze(1)
            for _ in range(self.steps):
                if not len(active):
                    break
                result[active] = self._step(model, result[active], images[active], targets[active])
                with torch.no_grad():
                    right = model(result[active]).argmax(1) == labels[active]
                active = active[right]
        return result

    def _step(self, model: nn.Module, current: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        inputs = current.detach().requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(model(inputs), targets, reduction="sum")
            loss = loss + self.c * l2_norm(inputs - images).sum()
            (gradient,) = torch.autograd.grad(loss, inputs)
        moved = current - self.alpha * gradient
        return moved.clamp(0, 1) if self.clip else moved
