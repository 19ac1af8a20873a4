"""Boxes: a lower and an upper bound of each element, and the least that a sum can be in one."""

from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Hold lower and upper bounds, of one shape (N, ...)."""

    lower: Tensor
    upper: Tensor

    @property
    def centre(self) -> Tensor:
        """Return the middle of each interval."""
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> Tensor:
        """Return half the width of each interval."""
        return (self.upper - self.lower) / 2


def pixels_within(images: Tensor, eps: float) -> Box:
    """Return the box of all images in [0, 1] within `eps` of `images` in Linf."""
    images = images.clamp(0, 1)
    return Box((images - eps).clamp(0, 1), (images + eps).clamp(0, 1))


def least(rows: Tensor, box: Box) -> Tensor:
    """Return the least value (N, R) of `rows` (N, R, ...) times x (N, ...), for x in `box`.

    At the corner where it is reached every element is at an end: the centre's value minus the
    radius times the L1 norm.
    """
    centre, radius = box.centre.flatten(1).unsqueeze(2), box.radius.flatten(1).unsqueeze(2)
    rows = rows.flatten(2)
    return (rows @ centre - rows.abs() @ radius).squeeze(2)


def margin_rows(weight: Tensor, bias: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last layer as one that computes the label's logit minus each logit.

    `weight` (K, d) and `bias` (K,) become (N, K, d) and (N, K): the class is subtracted before the
    bounds are taken, so that what two logits share cancels (Gowal et al. 2018, section 3).
    """
    return weight[labels].unsqueeze(1) - weight, bias[labels].unsqueeze(1) - bias


def smallest(margins: Tensor, labels: Tensor) -> Tensor:
    """Return the smallest (N,) of the margins (N, classes) over the label's against all others."""
    return margins.scatter(1, labels.unsqueeze(1), torch.inf).amin(1)
