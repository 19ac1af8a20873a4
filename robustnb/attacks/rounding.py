"""Half floats are coarse: an image that is rounded to them must not leave the ball."""

import torch
from torch import Tensor


def rounded_inside(found: Tensor, images: Tensor, eps: float, norm: str) -> Tensor:
    """Round `found` to the type of `images`, so that it is within `eps` of them in `norm`.

    That is so as measured in float64. Both are (N, ...) in [0, 1]; `images` are half floats, and
    `found` is within `eps` of them, but for the last digits of its own type.
    """
    centres = images.double()
    if norm == "linf":
        inside = _towards(centres, found.double().clamp(centres - eps, centres + eps), images)
        leaves = (inside.double() - centres).abs() > eps  # float64 rounds centres + eps, too
        return torch.where(leaves, torch.nextafter(inside, images), inside)
    inside = _towards(centres, found.double(), images)
    offset = inside.double() - centres
    norms = offset.flatten(1).norm(dim=1).view(-1, *[1] * (images.dim() - 1))
    # A little shorter than eps, so that its sum of squares is not rounded to more.
    shorter = _towards(centres, centres + offset * ((1 - 1e-9) * eps / norms), images)
    return torch.where(norms > eps, shorter, inside)


def _towards(centres: Tensor, found: Tensor, images: Tensor) -> Tensor:
    """Round to the type of `images` (which `centres` are in float64), never away from them."""
    nearest = found.to(images.dtype)
    is_farther = (nearest.double() - centres).abs() > (found - centres).abs()
    return torch.where(is_farther, torch.nextafter(nearest, images), nearest)
