"""How long the networks of Kaspar, Hicheur & Bourdrez (2024) take for an image."""

import statistics
import time

import torch
from torch import Tensor, nn

from robustnb.devices import device
from robustnb.papers.images import Images
from robustnb.papers.stochastic_lwta.training import Architecture, Network, build
from robustnb.randomness import initial_weights


def milliseconds(
    architecture: Architecture,
    network: Network,
    images: Images,
    batches: tuple[int, ...],
    seed: int,
) -> dict[int, float]:
    """Return the milliseconds that an image takes by the size of its batch, the median of five.

    The network has the weights it starts from. Time on the CPU is that of one core's work, whatever
    else the machine does.
    """
    pictures, _ = images.load()
    with initial_weights(seed):
        model = build(architecture, network, pictures.shape[1]).to(device()).eval()
    return {
        size: 1_000 * statistics.median(seconds(model, pictures[:size]) for _ in range(5)) / size
        for size in batches
    }


def seconds(model: nn.Module, images: Tensor) -> float:
    """Return the seconds of a pass, after one that warms up."""
    clock = time.process_time if images.device.type == "cpu" else time.perf_counter
    with torch.no_grad():
        model(images)
        wait(images)
        started = clock()
        model(images)
        wait(images)
    return clock() - started


def wait(images: Tensor) -> None:
    """Wait until the device has finished."""
    if images.is_cuda:
        torch.cuda.synchronize()
