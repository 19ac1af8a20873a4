"""Gaussian noise whose level each neuron learns (Xiao, Zhang & Peng 2021)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class GaussianNoise(nn.Module):
    """Add sigma * epsilon to every pre-activation, epsilon ~ N(0, 1) drawn anew (eq. 1).

    Stands between a linear or convolutional layer and its activation. `shape` is that of one
    example there: (features,), or (C, H, W) for one sigma per element of a feature map. Every
    `sigma` starts at `sigma_init`, in the units of the pre-activation. With `trainable=False` it
    stays there, as in the networks whose names in the paper's tables end with +. With
    `at_inference=False` the noise is off in evaluation mode; the paper leaves that open.
    Back-propagation gives the gradient in sigma, delta * epsilon (Theorem 1).
    """

    def __init__(
        self,
        *shape: int,
        sigma_init: float = 1.0,
        trainable: bool = True,
        at_inference: bool = True,
    ) -> None:
        super().__init__()
        if sigma_init < 0:
            raise ValueError(f"sigma_init is {sigma_init}: a noise level is at least 0.")
        self.sigma = nn.Parameter(torch.full(shape, float(sigma_init)), requires_grad=trainable)
        self.at_inference = at_inference
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *shape) to (N, *shape), with noise of its own for each example."""
        if x.shape[1:] != self.sigma.shape:
            raise ValueError(
                f"the noise has the shape {tuple(self.sigma.shape)} and an example here "
                f"{tuple(x.shape[1:])}: give GaussianNoise the shape of one example."
            )
        if not (self.training or self.at_inference):
            return x
        epsilon = torch.randn(x.shape, generator=self.generator, device=x.device, dtype=x.dtype)
        return x + self.sigma * epsilon

    def extra_repr(self) -> str:
        """Show the layer's shape, and what is not the default, when the network is printed."""
        shape = ", ".join(map(str, self.sigma.shape))
        fixed = "" if self.sigma.requires_grad else ", trainable=False"
        return shape + fixed + ("" if self.at_inference else ", at_inference=False")


def noisy_linear(in_features: int, out_features: int, **noise: Any) -> nn.Sequential:
    """Make a linear layer with noise on each of its outputs; `noise` goes to GaussianNoise.

    Serves as the `layer` of `fully_connected`.
    """
    return nn.Sequential(nn.Linear(in_features, out_features), GaussianNoise(out_features, **noise))


def noise_layers(model: nn.Module) -> list[GaussianNoise]:
    """Return the noise layers of `model` in the order of its passes."""
    return [module for module in model.modules() if isinstance(module, GaussianNoise)]


class NoiseAdam(Optimizer):
    """Update noise levels by Adam and take their absolute value, which keeps them positive (eq. 7).

    As in the equation and unlike in torch's Adam, `eps` is added under the square root: steps
    shrink once gradients fall below sqrt(eps) = 1e-4.
    """

    def __init__(
        self,
        sigmas: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(sigmas, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step in every noise level that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for sigma in group["params"]:
                if sigma.grad is not None:
                    self._move(sigma, sigma.grad, **group)
        return loss

    def _move(
        self,
        sigma: Tensor,
        gradient: Tensor,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        **_: Any,
    ) -> None:
        state = self.state[sigma]
        if not state:
            state |= {"step": 0, "h": torch.zeros_like(sigma), "v": torch.zeros_like(sigma)}
        state["step"] += 1
        state["h"].lerp_(gradient, 1 - betas[0])
        state["v"].lerp_(gradient.square(), 1 - betas[1])
        h = state["h"] / (1 - betas[0] ** state["step"])
        v = state["v"] / (1 - betas[1] ** state["step"])
        sigma.sub_(lr * h / (v + eps).sqrt()).abs_()


class Together(Optimizer):
    """Use several optimizers as one with one state to save; each keeps its own parameters."""

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let each optimizer work on its part of the common state."""
        groups = iter(self.param_groups)
        for optimizer in self.optimizers:
            optimizer.param_groups = [next(groups) for _ in optimizer.param_groups]
            optimizer.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step of each optimizer."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state that `state_dict()` gave."""
        super().load_state_dict(state_dict)
        self._share()


def with_noise_levels(
    model: nn.Module, weights: Callable[[list[nn.Parameter]], Optimizer], lr: float = 1e-3
) -> Together:
    """Make an optimizer that trains the weights by `weights` and the noise levels by NoiseAdam.

    `weights` is called with the list of the weights, as `partial(torch.optim.Adam, lr=1e-3)` can
    be; its weight decay does not reach the noise levels. `lr` is the learning rate of the noise
    levels (Algorithm 1).
    """
    sigmas = [layer.sigma for layer in noise_layers(model) if layer.sigma.requires_grad]
    if not sigmas:
        raise ValueError("the network has no noise to learn: put trainable GaussianNoise into it.")
    levels = {id(layer.sigma) for layer in noise_layers(model)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in levels]
    return Together(weights(rest), NoiseAdam(sigmas, lr))
