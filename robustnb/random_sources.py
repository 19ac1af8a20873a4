"""The random generators that a network draws from and that nobody hands in, and their states."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

GENERATORS = (
    torch.Generator,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)
# What torch keeps in every module, beside its settings.
TORCHS = {"training", *vars(nn.Module())}


class Source(NamedTuple):
    """A random generator: how its state is read and set, and the state that a seed makes."""

    owner: object  # what holds the state: two generators may share it
    read: Callable[[], Any]
    write: Callable[[Any], object]
    started: Callable[[int], Any]


@dataclass
class Drawn:
    """Whether anything drew from a random source in a block, known at its end."""

    any: bool = False


def held_generators(model: nn.Module) -> list[Any]:
    """Return the generators that modules hold, as an attribute or in a list, tuple or dict."""
    return [each for module in model.modules() for each in _held(_own(module))]


def random_sources(model: nn.Module, device: torch.device) -> list[Source]:
    """Return torch's, NumPy's and Python's global generators, and those that modules hold.

    Torch's are that of the CPU and of each GPU with weights or `device`.
    """
    numpys = np.random.mtrand._rand
    found = [*_torchs(model, device), numpys, random._inst, *held_generators(model)]
    sources = map(_source, found)
    return list({id(source.owner): source for source in sources if source}.values())


def states_from(sources: Sequence[Source], seed: int) -> list[Any]:
    """Return the state that `seed` makes of each source."""
    return [source.started(seed) for source in sources]


@contextmanager
def seeded_sources(sources: Sequence[Source], begun: Sequence[Any]) -> Iterator[Drawn]:
    """Let sources start from the states `begun` in the block, and give them their own back."""
    drawn, kept = Drawn(), [source.read() for source in sources]
    _write(sources, begun)
    try:
        yield drawn
    finally:
        ended = [source.read() for source in sources]
        drawn.any = not all(map(_same, begun, ended))
        _write(sources, kept)


def _own(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in TORCHS}


def _held(value: Any, around: tuple[int, ...] = ()) -> Iterator[Any]:
    """Yield the generators in a value that lies in the containers with the ids `around`."""
    if isinstance(value, GENERATORS):
        yield value
    elif isinstance(value, Mapping | list | tuple) and id(value) not in around:
        parts = value.values() if isinstance(value, Mapping) else value
        for part in parts:
            yield from _held(part, (*around, id(value)))


def _torchs(model: nn.Module, device: torch.device) -> list[torch.Generator]:
    ours = [torch.default_generator]
    if torch.cuda.is_initialized():
        tensors = chain(model.parameters(), model.buffers())
        devices = {device, *(tensor.device for tensor in tensors)}
        numbers = sorted(device.index for device in devices if device.type == "cuda")
        ours += [torch.cuda.default_generators[number] for number in numbers]
    return ours


def _source(generator: Any) -> Source | None:
    if isinstance(generator, torch.Generator):

        def started(seed: int) -> Tensor:
            return torch.Generator(generator.device).manual_seed(seed).get_state()

        return Source(generator, generator.get_state, generator.set_state, started)
    if isinstance(generator, np.random.Generator):
        return _of_bits(generator.bit_generator)
    if isinstance(generator, np.random.BitGenerator):
        return _of_bits(generator)
    if isinstance(generator, np.random.RandomState):
        return _legacy(generator)
    if isinstance(generator, random.SystemRandom):
        return None  # it has no state
    return Source(
        generator,
        generator.getstate,
        generator.setstate,
        lambda seed: random.Random(seed).getstate(),
    )


def _of_bits(bits: np.random.BitGenerator) -> Source:
    def write(state: Any) -> None:
        bits.state = state

    return Source(bits, lambda: bits.state, write, lambda seed: type(bits)(seed).state)


def _legacy(generator: np.random.RandomState) -> Source:
    bits = generator._bit_generator

    def read(of: np.random.RandomState = generator) -> Any:
        return of.get_state(legacy=False)  # with the normal number that it keeps for later

    def started(seed: int) -> Any:
        return read(np.random.RandomState(type(bits)(seed)))

    return Source(bits, read, generator.set_state, started)


def _write(sources: Sequence[Source], states: Sequence[Any]) -> None:
    for source, state in zip(sources, states, strict=True):
        source.write(state)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return all(_same(value, other[name]) for name, value in one.items())
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)
