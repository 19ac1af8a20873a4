"""Dropout that draws from a generator."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Set each element to 0 with probability `p` in training, and divide the others by 1 - p.

    As nn.Dropout, but it draws from a generator that is handed in (see `noise_from`).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}: a probability of dropping is at least 0 and below 1.")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with elements dropped in training, and `x` itself in evaluation mode."""
        if not self.training:
            return x
        kept = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        kept.bernoulli_(1 - self.p, generator=self.generator)
        return x * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability when the network is printed."""
        return f"p={self.p:g}"
