"""Noise on weights and activations whose strength is learned: parametric noise injection.

He, Rakin & Fan (2019); section 3.2 of Kaspar, Hicheur & Bourdrez (2024).
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Per = Literal["layer", "channel", "element"]
Where = Literal["weights", "activations", "both"]


class ParametricNoise(nn.Module):
    """Return v + alpha * eta with eta ~ N(0, std(v)^2), drawn anew on each pass.

    std is taken over all elements of v and is a constant in back-propagation. `alpha` has the given
    shape, which broadcasts to v's, and starts at `alpha_init`; its sign has no meaning. There is
    noise in evaluation mode too.
    """

    def __init__(self, *shape: int, alpha_init: float = 0.25) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full(shape, float(alpha_init)))
        self.generator: torch.Generator | None = None

    def forward(self, v: Tensor) -> Tensor:
        """Return `v` with noise, in its shape."""
        eta = torch.randn(v.shape, generator=self.generator, device=v.device, dtype=v.dtype)
        return v + self.alpha * (eta * v.detach().std(correction=0))

    def extra_repr(self) -> str:
        """Show the shape of alpha when the network is printed."""
        return ", ".join(map(str, self.alpha.shape))


class PNILinear(nn.Linear):
    """Put parametric noise on a linear layer's weights, outputs or both; biases have none.

    There is one alpha `per` "layer" (as in the paper's main results), per "channel", which is an
    output here, or per "element" of what is noisy. One draw of the weights serves the whole batch.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        per: Per = "layer",
        where: Where = "weights",
        alpha_init: float = 0.25,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        _check(per, where)
        weights, outputs = _alpha_shape(self.weight.shape, per), _alpha_shape((out_features,), per)
        self.on_weights = _noise(weights, where != "activations", alpha_init)
        self.on_outputs = _noise(outputs, where != "weights", alpha_init)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features) with noise drawn for this pass."""
        return self.on_outputs(F.linear(input, self.on_weights(self.weight), self.bias))


class PNIConv2d(nn.Conv2d):
    """Put parametric noise on a convolution's kernels, outputs or both, as in PNILinear.

    `arguments` are those of nn.Conv2d. Noise on outputs has one alpha per layer or channel, for a
    layer does not know the size of its images.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        per: Per = "layer",
        where: Where = "weights",
        alpha_init: float = 0.25,
        **arguments: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **arguments)
        _check(per, where)
        if per == "element" and where != "weights":
            raise ValueError(
                f"per is 'element' with noise on {where!r}: a convolution has no alpha per element "
                "of its outputs; choose 'layer', 'channel' or noise on 'weights'."
            )
        outputs = _alpha_shape((out_channels, 1, 1), per)
        self.on_weights = _noise(
            _alpha_shape(self.weight.shape, per), where != "activations", alpha_init
        )
        self.on_outputs = _noise(outputs, where != "weights", alpha_init)

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W') with noise drawn for it."""
        outputs = self._conv_forward(input, self.on_weights(self.weight), self.bias)
        return self.on_outputs(outputs)


def coefficients(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return every alpha of `model` by its name there, in the order of its layers."""
    return {
        f"{name}.alpha".lstrip("."): module.alpha
        for name, module in model.named_modules()
        if isinstance(module, ParametricNoise)
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters of `model` for an optimizer whose weight decay spares every alpha.

    Decay would pull alpha towards 0, where there is no noise.
    """
    alphas = list(coefficients(model).values())
    known = {id(alpha) for alpha in alphas}
    weights = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": alphas, "weight_decay": 0.0},
    ]


def _alpha_shape(shape: tuple[int, ...], per: Per) -> tuple[int, ...]:
    """Return the shape of alpha for outputs or weights whose first dimension is the channel."""
    if per == "layer":
        return ()
    return shape if per == "element" else (shape[0], *[1] * (len(shape) - 1))


def _noise(shape: tuple[int, ...], wanted: bool, alpha_init: float) -> nn.Module:
    return ParametricNoise(*shape, alpha_init=alpha_init) if wanted else nn.Identity()


def _check(per: str, where: str) -> None:
    if per not in ("layer", "channel", "element"):
        raise ValueError(f"per is {per!r}: it must be 'layer', 'channel' or 'element'.")
    if where not in ("weights", "activations", "both"):
        raise ValueError(f"where is {where!r}: it must be 'weights', 'activations' or 'both'.")
