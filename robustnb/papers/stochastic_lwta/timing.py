"""How long the networks of Kaspar, Hicheur & Bourdrez (2024) take for an image."""

from functools import partial

import torch

from robustnb.devices import device
from robustnb.papers.images import Images
from robustnb.papers.stochastic_lwta.training import Architecture, Network, build
from robustnb.papers.timing import median_seconds
from robustnb.randomness import initial_weights

REPEATS = 5


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
    sizes = {size: pictures[:size] for size in batches}
    with torch.no_grad():
        return {
            size: 1_000 * median_seconds([partial(model, some)], REPEATS)[0] / size
            for size, some in sizes.items()
        }
