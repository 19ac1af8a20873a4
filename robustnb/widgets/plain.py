"""A network as it answers: layers that compute their weights hold the result."""

from typing import Any

from torch import nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.prune import remove as remove_pruning
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from robustnb.models import copied


def plain(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in evaluation mode whose layers hold the weights that they use.

    That is without parametrisations, weight norm, spectral norm and pruning masks.
    """
    network = copied(model).eval()
    for layer in network.modules():
        if is_parametrized(layer):
            _settle_parametrized(layer)
        for hook in list(layer._forward_pre_hooks.values()):
            _settle(layer, hook)
    return network


def _settle_parametrized(layer: nn.Module) -> None:
    # Not remove_parametrizations, which changes the class that the original shares.
    names: Any = layer.parametrizations
    values = {name: getattr(layer, name).detach().clone() for name in names}
    layer.__class__ = type_before_parametrizations(layer)
    del layer.parametrizations
    for name, value in values.items():
        layer.register_parameter(name, nn.Parameter(value))


def _settle(layer: nn.Module, hook: object) -> None:
    if isinstance(hook, WeightNorm):
        remove_weight_norm(layer, hook.name)
    elif isinstance(hook, SpectralNorm):
        remove_spectral_norm(layer, hook.name)
    elif isinstance(hook, BasePruningMethod):
        remove_pruning(layer, hook._tensor_name)
