"""Noise that an attack cannot repeat, as it comes from a generator that cannot be found."""

from contextlib import suppress
from weakref import WeakSet

import torch
from torch import Tensor, nn

from robustnb.checks import NotFinite, logits_of, unwrapped, warn_once
from robustnb.randomness import SameNoise, seeded

FEW = 64  # images on which noise shows that is not repeated
ROUNDING = 1e-4  # of the size of all logits: a GPU may add in another order
# The networks that were asked twice already.
_asked: WeakSet[nn.Module] = WeakSet()


def warn_if_noise_is_hidden(model: nn.Module, images: Tensor) -> None:
    """Warn of a network that answers in two ways to the same noise; each is asked only once.

    Draws that others make from torch's, NumPy's and Python's generators do not change.
    """
    network = unwrapped(model)
    if network in _asked or not len(images):
        return
    _asked.add(network)
    noise = SameNoise(model, seeded(0, images.device))
    answers = []
    with suppress(NotFinite), torch.no_grad():  # the attack itself says for how many images
        for _ in range(2):
            with noise():
                answers.append(logits_of(model, images[:FEW]))
        warn_if_apart(model, *answers)


def warn_if_apart(model: nn.Module, one: Tensor, other: Tensor) -> bool:
    """Warn, once for each network, if its answers to the same images and noise differ."""
    apart = (one - other).abs().nan_to_num(0)  # where both are minus infinity
    if not (apart > ROUNDING * one[one.isfinite()].norm()).any():
        return False
    warn_once(
        model,
        "noise",
        f"The network answers {len(one)} images, asked twice with the same noise, by logits that "
        f"differ by up to {apart.max():.2g}: it draws from a generator that cannot be found, or "
        "counts its passes. The attack takes luck for progress; let the network draw from torch's "
        "global generator, or keep its own as an attribute.",
    )
    return True
