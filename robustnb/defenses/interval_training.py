"""Training of networks that intervals can certify: a loss for `fit` (Gowal et al. 2018)."""

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from robustnb.attacks.common import check_eps
from robustnb.certificates.boxes import pixels_within
from robustnb.certificates.intervals import ACCEPTED, propagated_margins
from robustnb.certificates.layers import layers_of
from robustnb.checks import check_finite, check_whole
from robustnb.training import cross_entropy


# With slots, it stands in a checkpoint for what it prints: how far the scheduler is does not count.
@dataclass(frozen=True, slots=True)
class IntervalTraining:
    """Compute kappa * cross-entropy + (1 - kappa) * that of the worst logits within `eps`.

    The worst logits are bounds by intervals, the margin folded into the last layer (section 3). For
    `warm_up` minibatches kappa is 1; in the next `ramp_up` it goes to `kappa`, and the radius from
    0 to `eps`, both linearly. The steps are counted by the `scheduler` that `fit` gets, which is
    kept in checkpoints. For MNIST the paper takes 2,000 and 10,000 steps of 100 images, kappa 0.5,
    and trains with a larger eps than it certifies.
    """

    eps: float
    kappa: float = 0.5
    warm_up: int = 0
    ramp_up: int = 0
    scheduler: LRScheduler | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_finite(kappa=self.kappa)
        check_whole(0, warm_up=self.warm_up, ramp_up=self.ramp_up)
        if not 0 <= self.kappa <= 1:
            raise ValueError(f"kappa is {self.kappa}: it must be from 0 to 1.")
        if (self.warm_up or self.ramp_up) and not isinstance(self.scheduler, LRScheduler):
            raise ValueError(
                "warm_up and ramp_up take the scheduler that fit gets, which counts the steps; "
                "ConstantLR(optimizer, factor=1) leaves the learning rate as it is."
            )

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a minibatch, in the type of the network."""
        layers = layers_of(model, ACCEPTED)
        eps, kappa = self.schedule(0 if self.scheduler is None else self.scheduler.last_epoch)
        fitted = cross_entropy(model, images, labels)
        if kappa == 1:
            return fitted
        margins = propagated_margins(layers, pixels_within(images, eps), labels)
        return kappa * fitted + (1 - kappa) * F.cross_entropy(-margins, labels)

    def schedule(self, step: int) -> tuple[float, float]:
        """Return the radius and kappa after so many steps."""
        beyond = step - self.warm_up
        share = min(max(beyond / self.ramp_up, 0.0), 1.0) if self.ramp_up else float(beyond >= 0)
        return share * self.eps, 1 - share * (1 - self.kappa)
