"""The worst case of a linear classifier in closed form, as a loss for `fit` (Madry et al. 2018)."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.common import check_eps
from robustnb.certificates.boxes import least, margin_rows, pixels_within
from robustnb.certificates.layers import AFFINE, as_matrix, layers_of


@dataclass(frozen=True)
class LinearWorstCase:
    """Compute the cross-entropy at the worst images within `eps` in Linf, without an attack.

    A margin with weights w falls by eps times the L1 norm of w, or by less where pixels would leave
    [0, 1]. With two classes this is the inner maximum of min-max training, exactly. With more it is
    an upper bound, as each class is given its own worst image.
    """

    eps: float

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a minibatch; raises ValueError for a network that is not linear."""
        weight, bias = as_matrix(layers_of(model, AFFINE), images)
        rows, constant = margin_rows(weight, bias, labels)
        margins = least(rows, pixels_within(images, self.eps)) + constant
        return F.cross_entropy(-margins, labels)
