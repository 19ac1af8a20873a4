"""Remove the weights of a Bayesian network that are mostly noise (Zhang & Chen 2020, section 6)."""

import math

import torch
from torch import Tensor, nn

from robustnb.defenses.bayesian import NO_BAYESIAN_LAYERS, bayesian_layers
from robustnb.models import copied


def signal_to_noise(model: nn.Module) -> Tensor:
    """Return |mu| / sigma of every weight and bias of the network, in one flat tensor."""
    if not bayesian_layers(model):
        raise ValueError(NO_BAYESIAN_LAYERS)
    ratios = [(layer.mu.abs() / layer.sigma).flatten() for layer in bayesian_layers(model)]
    # A weight that is 0 without noise (pruned before) carries no signal: 0 / 0 counts as 0.
    return torch.cat(ratios).nan_to_num(nan=0.0, posinf=torch.inf)


def prune(model: nn.Module, rate: float) -> nn.Module:
    """Return a copy of `model` without the `rate` (0 to 1) of weights of smallest |mu| / sigma.

    Weights are ranked over the whole network. A removed weight is exactly 0 on every pass: mu = 0
    and sigma = 0. (The paper does not say whether its noise is removed too; a smaller network has
    none.) In further training its mean may grow again. Raises ValueError for a network without
    Bayesian layers.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}: it must be between 0 (keep all) and 1 (remove all).")
    pruned = copied(model)
    ratios = signal_to_noise(pruned).detach()
    removed = torch.zeros_like(ratios, dtype=torch.bool)
    removed[ratios.argsort(stable=True)[: round(rate * ratios.numel())]] = True
    layers = bayesian_layers(pruned)
    for layer, flags in zip(layers, removed.split([m.mu.numel() for m in layers]), strict=True):
        layer.mu.data[flags.view_as(layer.mu)] = 0.0
        layer.rho.data[flags.view_as(layer.rho)] = -math.inf
    return pruned
