"""How long calls take on the device, one beside the other."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from robustnb.devices import device


def median_seconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median seconds of each call.

    The calls take turns, so that a change of the machine falls on all of them. The first turn is
    left out, since it is slower than the others.
    """
    turns = [[_seconds(call) for call in calls] for _ in range(repeats + 1)]
    return [median(times) for times in zip(*turns[1:], strict=True)]


def _seconds(call: Callable[[], object]) -> float:
    started = _clock()
    call()
    return _clock() - started


def _clock() -> float:
    """Return seconds: of this process on a CPU, so that others on the machine do not count."""
    if device().type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()
