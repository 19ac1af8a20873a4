"""Which networks of Xiao, Zhang & Peng (2021) the explorables run."""

from functools import partial

from robustnb.papers import weights
from robustnb.papers.noise_optimization.networks import network
from robustnb.papers.noise_optimization.parts import trained
from robustnb.papers.noise_optimization.protocols import Protocol
from robustnb.papers.weights import OfTable


def networks(protocol: Protocol, seed: int) -> dict[str, OfTable]:
    """Return the perceptrons of Table 3."""
    study = protocol.study("3")
    images = study.images(study.num_images)
    return {name: OfTable("3", trained(study, name, seed), images) for name in study.networks}


kept = partial(weights.read, "noise-optimization", network)
