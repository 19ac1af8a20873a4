"""Which networks of Rozsa, Günther & Boult (2016) the explorables run."""

from functools import partial

from torch import nn

from robustnb.papers import weights
from robustnb.papers.bang.networks import lenet
from robustnb.papers.bang.parts import trained
from robustnb.papers.bang.protocols import Protocol
from robustnb.papers.weights import OfTable


def networks(protocol: Protocol, seed: int) -> dict[str, OfTable]:
    """Return the two LeNets that the paper compares under noise."""
    study = protocol.mnist
    return {
        network.name: OfTable("1", trained(study.training, network, seed), study.images())
        for network in study.pair
    }


def untrained(_: str) -> nn.Module:
    """Return a LeNet for MNIST, for its weights."""
    return lenet(1, 28, 10)


kept = partial(weights.read, "bang", untrained)
