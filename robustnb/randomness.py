"""Generators: how to make one, and which one the stochastic layers of a network draw from."""

import hashlib
import operator
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from robustnb.checks import check_whole
from robustnb.random_sources import Drawn, random_sources, seeded_sources, states_from


def seeded(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a generator that starts from `seed`."""
    check_whole(-(2**63), seed=seed)
    return torch.Generator(device).manual_seed(operator.index(seed))


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
def noise_from(model: nn.Module, generator: torch.Generator | None) -> Iterator[Drawn]:
    """Let every stochastic layer of `model` draw from `generator` inside the block.

    What takes no generator, such as torch.randn_like or nn.functional.dropout, draws inside the
    block from torch's global generators, seeded by the state of `generator`; so are NumPy's and
    Python's, and generators that modules keep for themselves. Their own states are given back. With
    None the layers keep the generators that they have; a layer that has none draws from torch's
    global one.
    """
    with _handed_in(stochastic_layers(model), generator):
        if generator is None:
            yield Drawn()
            return
        noise = SameNoise(model, generator)
        with noise.sources_repeated() as drawn:
            yield drawn
        if drawn.any:
            draw_seed(generator.device, generator)


class SameNoise:
    """Let a network draw the same again and again, as in `noise_from(model, generator)`.

    `generator` itself stays where it is. Layers and generators are looked for once.
    """

    def __init__(self, model: nn.Module, generator: torch.Generator) -> None:
        self.layers, self.begun = stochastic_layers(model), generator.get_state()
        self.device = generator.device
        found = random_sources(model, generator.device)
        self.sources = [source for source in found if source.owner is not generator]
        self.states = states_from(self.sources, _hashed(generator))

    @contextmanager
    def __call__(self) -> Iterator[Drawn]:
        """Let the layers, and all that takes no generator, draw the same inside the block."""
        generator = torch.Generator(self.device)
        generator.set_state(self.begun)
        with _handed_in(self.layers, generator), self.sources_repeated() as drawn:
            yield drawn

    def sources_repeated(self) -> AbstractContextManager[Drawn]:
        """Let what takes no generator draw the same inside the block."""
        return seeded_sources(self.sources, self.states)


@contextmanager
def _handed_in(layers: list[Any], generator: torch.Generator | None) -> Iterator[None]:
    before = [layer.generator for layer in layers]
    if generator is not None:
        for layer in layers:
            layer.generator = generator
    try:
        yield
    finally:
        for layer, previous in zip(layers, before, strict=True):
            layer.generator = previous


def _hashed(generator: torch.Generator) -> int:
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(state, digest_size=4).digest())


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Let torch's initialisers draw from `seed` inside the block; its global state is kept."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
