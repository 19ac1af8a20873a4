"""A unit that Theorem 2 of Xiao, Zhang & Peng (2021) admits, and for which it is wrong."""

import math
from typing import NamedTuple

import torch

from robustnb.randomness import seeded


class Slopes(NamedTuple):
    """The slope in sigma of a mean loss: by the pathwise gradient, by differences, and exactly."""

    pathwise: float
    differences: float
    exact: float


def threshold_slopes(
    pre_activation: float = 1.0,
    sigma: float = 1.0,
    draws: int = 1_000_000,
    step: float = 0.05,
    seed: int = 0,
) -> Slopes:
    """Differentiate the mean of a threshold unit, 1 where a + sigma epsilon > 0, in sigma.

    The unit is differentiable almost everywhere and its derivative is 0, so that condition (6) of
    the theorem is met. Its mean is Phi(a / sigma), with the slope -a phi(a / sigma) / sigma^2. The
    differences are central, with the same draws on both sides.
    """
    epsilon = torch.randn(draws, generator=seeded(seed), dtype=torch.float64)
    v = (pre_activation + sigma * epsilon).requires_grad_()
    (delta,) = torch.autograd.grad(torch.sign(v).sum() / 2, v)  # (1 + sign v) / 2 is the unit
    above, below = (
        (pre_activation + (sigma + sign * step) * epsilon > 0).double() for sign in (1, -1)
    )
    density = math.exp(-((pre_activation / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)
    return Slopes(
        (delta * epsilon).mean().item(),
        ((above - below).mean() / (2 * step)).item(),
        -pre_activation * density / sigma**2,
    )
