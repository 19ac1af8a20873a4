"""TRADES: accuracy on clean images, and answers that stay alike around them (Zhang et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import Attack, CheckedAttack, check_eps
from robustnb.attacks.gradient import project, steepest
from robustnb.checks import check_at_least, check_whole, logits_of
from robustnb.models import logits_and_slope

START = 0.001  # the published code's standard deviation of the first offset


@dataclass(frozen=True)
class DivergencePGD(CheckedAttack):
    """Climb the divergence of the network's answer from its own at the image; labels do not count.

    It takes `steps` of `alpha`, each projected onto the ball of `eps` in Linf, in pixel units of
    [0, 1]. The gradient is 0 at the image itself, so that it begins next to it (algorithm 1).
    """

    eps: float
    alpha: float
    steps: int

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_at_least(0, alpha=self.alpha)
        check_whole(1, steps=self.steps)

    def _found(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        with torch.no_grad():
            reference = logits_of(model, images)
        offset = torch.empty_like(images).normal_(0, START, generator=generator)
        found = project(images + offset, images, self.eps, "linf")
        for _ in range(self.steps):
            _, _, gradient = logits_and_slope(model, found, lambda z: divergence(reference, z))
            stepped = found + self.alpha * steepest(gradient, "linf")
            found = project(stepped, images, self.eps, "linf")
        return found


@dataclass(frozen=True)
class TRADES:
    """Compute the cross-entropy of clean images plus `beta` times the divergence under attack.

    `beta` is the paper's 1 / lambda: the larger, the more accuracy is traded for robustness. The
    attack meets the present network in evaluation mode, and draws from `generator`; the gradient
    flows through both answers, in the network's own mode (algorithm 1).
    """

    attack: Attack
    beta: float = 6.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        check_at_least(0, beta=self.beta)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a minibatch."""
        attacked = self.attack(model, images, labels, self.generator)
        clean = model(images)
        apart = divergence(clean, model(attacked)).mean()
        return F.cross_entropy(clean, labels) + self.beta * apart


def divergence(reference: Tensor, logits: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (N,) of softmax(`logits`) from that of `reference`."""
    wanted, found = F.log_softmax(reference, 1), F.log_softmax(logits, 1)
    return F.kl_div(found, wanted, reduction="none", log_target=True).sum(1)
