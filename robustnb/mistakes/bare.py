"""Two attacks as they are often written: short, and without the checks of `robustnb.attacks`.

They take what those refuse, such as pixels from 0 to 2: an exhibit needs an attack that can be
used wrongly.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robustnb.attacks.common import l2_norm, per_image
from robustnb.attacks.gradient import cross_entropies
from robustnb.metrics import margin

Ask = Callable[[Tensor], Tensor]  # what answers images (N, ...) with logits (N, classes)
Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and labels (N,), one for each image


def pgd(
    ask: Ask,
    images: Tensor,
    labels: Tensor,
    eps: float,
    *,
    black: float = 0.0,
    white: float = 1.0,
    loss: Loss = cross_entropies,
    steps: int = 20,
) -> Tensor:
    """Take steps along the sign of the gradient, in Linf (Madry et al. 2018).

    No pixel moves by more than `eps` or leaves `black` to `white`, all in the units of `images`.
    """
    moved = images
    for _ in range(steps):
        moved = moved + eps / 8 * _gradient(ask, moved, labels, loss).sign()
        moved = moved.clamp(images - eps, images + eps).clamp(black, white)
    return moved


def climb(
    ask: Ask, images: Tensor, labels: Tensor, eps: float, *, clamp: bool = True, steps: int = 40
) -> Tensor:
    """Take steps in proportion to the gradient of the margin, up to the L2 length `eps`.

    With `clamp` the pixels come back into [0, 1] after each step.
    """
    moved = images
    for _ in range(steps):
        offset = moved + 0.02 * _gradient(ask, moved, labels, margin) - images
        shrink = (eps / l2_norm(offset).clamp(min=eps)).clamp(max=1)
        moved = images + per_image(shrink, images) * offset
        moved = moved.clamp(0, 1) if clamp else moved
    return moved


def _gradient(ask: Ask, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    inputs = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(ask(inputs), labels).sum(), inputs)
    return gradient
