"""Generators: how to make one, and which one the stochastic layers of a network draw from."""

import hashlib
import operator
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from robustnb.checks import check_whole


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


@dataclass
class Noise:
    """Whether anything drew from a global generator in a block, known at its end."""

    drawn_globally: bool = False


@contextmanager
def noise_from(model: nn.Module, generator: torch.Generator | None) -> Iterator[Noise]:
    """Let every stochastic layer of `model` draw from `generator` inside the block.

    What takes no generator, such as torch.randn_like or nn.functional.dropout, draws inside the
    block from torch's global generators, seeded by the state of `generator`; their own states are
    kept. With None the layers keep the generators that they have; a layer that has none draws from
    torch's global one.
    """
    layers, noise = stochastic_layers(model), Noise()
    before = [layer.generator for layer in layers]
    if generator is not None:
        for layer in layers:
            layer.generator = generator
    try:
        with nullcontext() if generator is None else _seeded_globally(model, generator, noise):
            yield noise
    finally:
        for layer, previous in zip(layers, before, strict=True):
            layer.generator = previous


@contextmanager
def _seeded_globally(model: nn.Module, generator: torch.Generator, noise: Noise) -> Iterator[None]:
    """Seed torch's global generators by the state of `generator`, and give them their own back.

    Seeding draws nothing from `generator`. If the block drew globally, its end draws one number, so
    that the next block draws others.
    """
    ours = _global_generators(model, generator)
    kept, seed = [each.get_state() for each in ours], _hashed(generator)
    begun = [each.manual_seed(seed).get_state() for each in ours]
    try:
        yield
    finally:
        ended = [each.get_state() for each in ours]
        noise.drawn_globally = not all(map(torch.equal, begun, ended))
        for each, state in zip(ours, kept, strict=True):
            each.set_state(state)
        if noise.drawn_globally:
            draw_seed(generator.device, generator)


def _global_generators(model: nn.Module, generator: torch.Generator) -> list[torch.Generator]:
    """Return torch's own generators, of the CPU and of each GPU with weights or `generator`.

    Not `generator` itself, which may be one of them.
    """
    ours = [torch.default_generator]
    if torch.cuda.is_initialized():
        tensors = chain(model.parameters(), model.buffers())
        devices = {generator.device, *(tensor.device for tensor in tensors)}
        numbers = sorted(device.index for device in devices if device.type == "cuda")
        ours += [torch.cuda.default_generators[number] for number in numbers]
    return [each for each in ours if each is not generator]


@contextmanager
def only_torch_draws() -> Iterator[None]:
    """Raise ValueError if the block draws from Python's or NumPy's global random numbers.

    An attack that repeats the noise of a network cannot repeat those.
    """
    before = _other_states()
    yield
    if _other_states() != before:
        raise ValueError(
            "the network draws from Python's or NumPy's global random numbers, which this attack "
            "cannot repeat: let it draw from torch's."
        )


def _other_states() -> tuple[Any, ...]:
    _, keys, place, *_ = np.random.get_state()  # noqa: NPY002
    return random.getstate(), np.asarray(keys).tobytes(), place


def _hashed(generator: torch.Generator) -> int:
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(state, digest_size=4).digest())


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Let torch's initialisers draw from `seed` inside the block; its global state is kept."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
