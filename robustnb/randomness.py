"""Generators: how to make one, and which one the stochastic layers of a network draw from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def seeded(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator that starts from `seed`."""
    return torch.Generator(device).manual_seed(seed)


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> int:
    """Draw a seed, from which the same noise can be drawn again and again."""
    return int(torch.randint(2**31, (), generator=generator, device=device).item())


def stochastic_layers(model: nn.Module) -> list[Any]:
    """Return the layers of `model` that draw noise: those with an attribute `generator`."""
    # Not hasattr: a network may call one of its parts "generator".
    return [
        layer
        for layer in model.modules()
        if isinstance(getattr(layer, "generator", layer), torch.Generator | None)
    ]


@contextmanager
def noise_from(model: nn.Module, generator: torch.Generator | None) -> Iterator[None]:
    """Let every stochastic layer of `model` draw from `generator` inside the block.

    With None the layers keep the generators that they have; a layer that has none draws from
    torch's global one.
    """
    layers = stochastic_layers(model)
    before = [layer.generator for layer in layers]
    if generator is not None:
        for layer in layers:
            layer.generator = generator
    try:
        yield
    finally:
        for layer, previous in zip(layers, before, strict=True):
            layer.generator = previous


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Let torch's initialisers draw from `seed` inside the block; its global state is kept."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
