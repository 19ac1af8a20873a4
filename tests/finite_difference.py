"""Gradients of a loss in the parameters of a network, by central differences."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def assert_gradients_are_slopes(
    loss: Callable[[], Tensor], model: nn.Module, step: float = 1e-6
) -> None:
    """Compare the gradient of `loss()` in every parameter (float64) with a central difference."""
    model.zero_grad()
    loss().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        found, slopes = parameter.grad.clone(), torch.zeros_like(parameter)
        with torch.no_grad():
            for place in range(parameter.numel()):
                values = []
                for sign in (1, -1):
                    parameter.view(-1)[place] += sign * step
                    values.append(loss())
                    parameter.view(-1)[place] -= sign * step
                slopes.view(-1)[place] = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(found, slopes, rtol=1e-5, atol=1e-7)
