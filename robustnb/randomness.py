"""Generators: how to make one, and which one the stochastic layers of a network draw from."""

import hashlib
import operator
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

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

    What takes no generator, such as torch.randn_like or nn.Dropout, draws inside the block from
    global generators (torch's, Python's and NumPy's) that are seeded by the state of `generator`;
    their own states are kept. With None the layers keep the generators that they have; a layer that
    has none draws from torch's global one.
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
    """Seed the global generators by the state of `generator`, and give them their own back.

    Seeding draws nothing from `generator`. If the block drew globally, its end draws one number, so
    that the next block draws others.
    """
    sources = _global_sources(model, generator)
    kept, seed = [source.get() for source in sources], _hashed(generator)
    for source in sources:
        source.seed(seed)
    begun = [source.get() for source in sources]
    try:
        yield
    finally:
        noise.drawn_globally = begun != [source.get() for source in sources]
        for source, state in zip(sources, kept, strict=True):
            source.put(state)
        if noise.drawn_globally:
            draw_seed(generator.device, generator)


class _Source(NamedTuple):
    """A global generator: how to get its state, which can be compared, to put one, and to seed."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    seed: Callable[[int], object]


def _global_sources(model: nn.Module, generator: torch.Generator) -> list[_Source]:
    """Return Python's, NumPy's and torch's generators, where a network has weights or `generator`.

    Not `generator` itself, which may be a global one.
    """
    tensors = chain(model.parameters(), model.buffers())
    devices = {generator.device, *(tensor.device for tensor in tensors)}
    numbers = sorted(device.index for device in devices if device.type == "cuda")
    ours = [torch.default_generator, *(torch.cuda.default_generators[n] for n in numbers)]
    return [
        _Source(random.getstate, random.setstate, random.seed),
        _Source(_numpy_state, _put_numpy_state, np.random.seed),
        *(_torch_source(each) for each in ours if each is not generator),
    ]


def _torch_source(generator: torch.Generator) -> _Source:
    return _Source(
        lambda: generator.get_state().numpy().tobytes(),
        lambda state: generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
        generator.manual_seed,
    )


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return name, np.asarray(keys).tobytes(), *rest


def _put_numpy_state(state: tuple[Any, ...]) -> None:
    name, keys, *rest = state
    np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))  # noqa: NPY002


def _hashed(generator: torch.Generator) -> int:
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(state, digest_size=4).digest())


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Let torch's initialisers draw from `seed` inside the block; its global state is kept."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
