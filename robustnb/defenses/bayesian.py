"""Weights as Gaussians, drawn anew on each pass (Zhang & Chen 2020; Blundell et al. 2015)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.models import Scale, copied, evaluating
from robustnb.randomness import noise_from

LOG_SQRT_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class ScaleMixturePrior:
    """Mix two zero-mean Gaussians, one wide and one narrow, as the prior of each weight (eq. 2).

    `pi` is the share of the wide one; `sigma1` and `sigma2` are standard deviations.
    """

    pi: float = 0.5
    sigma1: float = math.exp(-1)
    sigma2: float = math.exp(-7)

    def __post_init__(self) -> None:
        if not 0 < self.pi < 1 or not self.sigma1 >= self.sigma2 > 0:
            raise ValueError(
                f"{self} is no prior: it needs 0 < pi < 1 and sigma1 >= sigma2 > 0, the wide one "
                "first."
            )

    @property
    def std(self) -> float:
        """Return the standard deviation of the mixture."""
        return math.sqrt(self.pi * self.sigma1**2 + (1 - self.pi) * self.sigma2**2)

    def log_prob(self, weights: Tensor) -> Tensor:
        """Return the log-density of each weight.

        The two components are added in log space: the plain sum underflows for |w| above 5.4.
        """
        wide = math.log(self.pi) + _log_normal(weights, self.sigma1)
        narrow = math.log(1 - self.pi) + _log_normal(weights, self.sigma2)
        return torch.logaddexp(wide, narrow)


def _log_normal(x: Tensor, sigma: float) -> Tensor:
    return -0.5 * (x / sigma) ** 2 - (math.log(sigma) + LOG_SQRT_TWO_PI)


class BayesianLinear(nn.Module):
    """Draw every weight and bias of a linear layer from its own Gaussian on each pass.

    `mu` and `rho` have shape (out_features, in_features + 1); the last column is the bias. A weight
    is mu + softplus(rho) * epsilon with epsilon ~ N(0, 1): softplus(rho) is the standard deviation
    (the paper's step 2; its eq. 1 writes it in the variance's place). `rho` starts at `rho_init`,
    and `mu` as a Gaussian truncated at two standard deviations (section 3.2); `mu_std` is the
    prior's unless given. One draw serves the whole batch, in training and in evaluation mode.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rho_init: float = -3.0,
        prior: ScaleMixturePrior | None = None,
        mu_std: float | None = None,
    ) -> None:
        super().__init__()
        self.prior = prior or ScaleMixturePrior()
        self.mu = nn.Parameter(torch.empty(out_features, in_features + 1))
        self.rho = nn.Parameter(torch.full_like(self.mu, rho_init))
        self.generator: torch.Generator | None = None
        self.held: Tensor | None = None
        self.complexity: Tensor | None = None
        std = self.prior.std if mu_std is None else mu_std
        nn.init.trunc_normal_(self.mu, std=std, a=-2 * std, b=2 * std)

    @property
    def sigma(self) -> Tensor:
        """Return the standard deviation of each weight."""
        return F.softplus(self.rho)

    def draw(self) -> Tensor:
        """Draw the weights once; in training, keep log q(w) - log P(w) as `complexity`."""
        epsilon = torch.randn(
            self.mu.shape, generator=self.generator, device=self.mu.device, dtype=self.mu.dtype
        )
        if not self.training:
            return self.mu + self.sigma * epsilon
        weights, self.complexity = _Draw.apply(self.mu, self.rho, epsilon, self.prior)
        return weights

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features) with weights drawn for this pass."""
        weights = self.draw() if self.held is None else self.held
        if weights.dim() == x.dim() == 3:
            bias = weights[:, None, :, -1]
            return torch.baddbmm(bias, x, weights[:, :, :-1].transpose(1, 2))
        x = F.pad(x, (0, 1), value=1.0)  # what the bias is multiplied with
        return F.linear(x, weights) if weights.dim() == 2 else _many_linear(x, weights)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies keep: not the complexity, which belongs to one pass."""
        return vars(self) | {"complexity": None}

    def extra_repr(self) -> str:
        """Show the layer's size when the network is printed."""
        out_features, columns = self.mu.shape
        return f"{columns - 1}, {out_features}"


class _Draw(torch.autograd.Function):
    """Draw weights and their complexity, with a backward pass written by hand.

    It gives the same numbers as autograd through mu + softplus(rho) * epsilon and log_prob in a
    third of the time on a CPU, where log1p costs more than the layer's matrix product.
    """

    @staticmethod
    def forward(
        ctx: Any, mu: Tensor, rho: Tensor, epsilon: Tensor, prior: ScaleMixturePrior
    ) -> tuple[Tensor, Tensor]:
        sigma = F.softplus(rho)
        weights = torch.addcmul(mu, sigma, epsilon)
        log_prob, slope = _prior_and_slope(prior, weights)
        ctx.save_for_backward(rho, sigma, epsilon, slope)
        # From epsilon, not from (w - mu) / sigma: at rho = -30 the latter is 0 / 1e-13.
        log_q = -(sigma.log() + epsilon.square() / 2).sum() - LOG_SQRT_TWO_PI * mu.numel()
        return weights, log_q - log_prob

    @staticmethod
    def backward(
        ctx: Any, into_weights: Tensor, into_complexity: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        rho, sigma, epsilon, slope = ctx.saved_tensors
        into_mu = torch.addcmul(into_weights, into_complexity, slope, value=-1)
        into_sigma = (into_mu * epsilon).addcdiv_(into_complexity, sigma, value=-1)
        # A pruned weight has sigma = 0, which its rho of minus infinity keeps: not 0 / 0.
        into_rho = into_sigma.mul_(torch.sigmoid(rho)).masked_fill_(sigma == 0, 0.0)
        return into_mu, into_rho, None, None


def _prior_and_slope(prior: ScaleMixturePrior, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return log P summed over the weights and its derivative in each of them."""
    squares = weights.square()
    wide, narrow = 1 / prior.sigma1**2, 1 / prior.sigma2**2
    log_odds_at_zero = math.log((1 - prior.pi) * prior.sigma1 / (prior.pi * prior.sigma2))
    is_wide = torch.sigmoid((narrow - wide) / 2 * squares - log_odds_at_zero)
    log_wide = math.log(prior.pi) - math.log(prior.sigma1) - LOG_SQRT_TWO_PI
    log_prob = log_wide * weights.numel() - (wide / 2 * squares + is_wide.log()).sum()
    return log_prob, -weights * (narrow + (wide - narrow) * is_wide)


def _many_linear(x: Tensor, weights: Tensor) -> Tensor:
    """Apply S draws (S, out, in) to one input (N, in) by one wide product, not S narrow ones."""
    outputs = F.linear(x, weights.flatten(0, 1))
    return outputs.unflatten(1, weights.shape[:2]).transpose(0, 1)


def bayesian_layers(model: nn.Module) -> list[BayesianLinear]:
    """Return the Bayesian layers of `model` in the order of its passes."""
    return [module for module in model.modules() if isinstance(module, BayesianLinear)]


NO_BAYESIAN_LAYERS = "the network has no Bayesian layers, whose weights could be drawn."
# They treat (S, N, features) as they do (N, features).
TOGETHER = (BayesianLinear, nn.Linear, nn.Flatten, Scale, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Identity)


def sample_logits(
    model: nn.Module,
    images: Tensor,
    num_samples: int,
    generator: torch.Generator | None = None,
    chunk: int = 10,
    batch_size: int = 1_000,
) -> Tensor:
    """Return the logits (S, N, classes) of `num_samples` weight draws, without gradients.

    Equal to S single passes with the same generator, but faster: matrix products are as wide as
    `chunk` draws and `batch_size` images, which keeps activations in a processor's cache. Raises
    ValueError for a network without Bayesian layers, or with other layers than those of TOGETHER,
    which may not treat (S, N, features) as they do (N, features).
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be at least 1.")
    _check_together(model, images)
    sizes = [min(chunk, num_samples - start) for start in range(0, num_samples, chunk)]
    with evaluating(model), torch.no_grad(), noise_from(model, generator):
        return torch.cat([_draws(model, images.split(batch_size), size) for size in sizes])


def _check_together(model: nn.Module, images: Tensor) -> None:
    if not bayesian_layers(model):
        raise ValueError(NO_BAYESIAN_LAYERS)
    flat = False
    rows = images.dim() == 2
    for layer in model.modules():
        if not (isinstance(layer, TOGETHER) or type(layer) is nn.Sequential):
            raise ValueError(
                f"{type(layer).__name__} cannot be asked for many draws at once: accepted beside "
                "Bayesian layers, in a Sequential, are "
                f"{', '.join(kind.__name__ for kind in TOGETHER[1:])}."
            )
        if flat and isinstance(layer, nn.Flatten):
            raise ValueError("Flatten behind a Bayesian layer would mix draws: leave it out.")
        rows |= isinstance(layer, nn.Flatten)
        flat |= isinstance(layer, BayesianLinear)
        if flat and not rows:
            raise ValueError(
                f"images have shape {tuple(images.shape)} and no Flatten before the first Bayesian "
                "layer: many draws at once take one row of numbers (N, features) there."
            )


def _draws(model: nn.Module, batches: Sequence[Tensor], num_samples: int) -> Tensor:
    layers = bayesian_layers(model)
    noise = [layer.mu.new_empty(num_samples, *layer.mu.shape) for layer in layers]
    for number in range(num_samples):  # in the order of single passes
        for layer, epsilon in zip(layers, noise, strict=True):
            epsilon[number].normal_(generator=layer.generator)
    try:
        for layer, epsilon in zip(layers, noise, strict=True):
            layer.held = epsilon.mul_(layer.sigma).add_(layer.mu)
        return torch.cat([model(images) for images in batches], 1)
    finally:
        for layer in layers:
            layer.held = None


def take_complexity(model: nn.Module) -> Tensor:
    """Return log q(w) - log P(w) of the last pass in training mode, and forget it in the layers."""
    layers = bayesian_layers(model)
    complexities = [layer.complexity for layer in layers if layer.complexity is not None]
    if not layers or len(complexities) < len(layers):
        raise ValueError(
            "The complexity is that of a pass in training mode through Bayesian layers: "
            "call model.train() and then the model."
        )
    for layer in layers:
        layer.complexity = None
    return torch.stack(complexities).sum()


def mean_network(model: nn.Module) -> nn.Module:
    """Return a copy of `model` whose weights are fixed at their means (sigma = 0)."""
    still = copied(model)
    for layer in bayesian_layers(still):
        layer.rho.data.fill_(-math.inf)
    return still


@dataclass(frozen=True)
class NegativeELBO:
    """Compute a minibatch's negative log-likelihood plus its share of the complexity cost.

    The paper's step 3 is for the whole training set and does not say how to scale a minibatch.
    Here, as in Blundell et al. (2015, eq. 8), the complexity log q(w) - log P(w) is divided by
    `num_batches`, and the likelihood is the "sum" over the minibatch. With its "mean" this scaling
    makes the prior too strong by a factor of the batch size; `complexity_weight` overrides it.
    """

    num_batches: int
    likelihood: Literal["sum", "mean"] = "sum"
    complexity_weight: float | None = None

    def __post_init__(self) -> None:
        if self.num_batches < 1:
            raise ValueError(f"num_batches is {self.num_batches}: it must be at least 1.")
        if self.likelihood not in ("sum", "mean"):
            raise ValueError(f"likelihood is {self.likelihood!r}: it must be 'sum' or 'mean'.")

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one weight draw; the model must be in training mode."""
        likelihood = F.cross_entropy(model(images), labels, reduction=self.likelihood)
        weight = 1 / self.num_batches if self.complexity_weight is None else self.complexity_weight
        return likelihood + weight * take_complexity(model)
