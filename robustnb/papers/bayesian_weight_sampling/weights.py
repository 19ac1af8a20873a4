"""Which networks of Zhang & Chen (2020) the explorables run."""

from functools import partial

from torch import nn

from robustnb.papers import weights
from robustnb.papers.bayesian_weight_sampling.parts import (
    bayesian,
    bayesian_name,
    plain,
    standard_name,
)
from robustnb.papers.bayesian_weight_sampling.protocols import Protocol
from robustnb.papers.bayesian_weight_sampling.training import (
    DEFENDER,
    plain_network,
    variational_network,
)
from robustnb.papers.images import Images
from robustnb.papers.weights import OfTable

PLAIN = standard_name("0")


def networks(protocol: Protocol, seed: int) -> dict[str, OfTable]:
    """Return the plain network of Table 2 and all variational ones."""
    trained = {PLAIN: plain(protocol.plain, DEFENDER, "0", seed)} | {
        bayesian_name(rho): bayesian(protocol.bayesian, rho, seed) for rho in protocol.rho_inits
    }
    return {name: OfTable("2", piece, Images(protocol.dataset)) for name, piece in trained.items()}


def untrained(name: str) -> nn.Module:
    """Return a network by its name, for its weights."""
    return plain_network(DEFENDER, seed=0) if name == PLAIN else variational_network(-3.0, seed=0)


kept = partial(weights.read, "bayesian-weight-sampling", untrained)
