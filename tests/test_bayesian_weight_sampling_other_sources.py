"""The other kind of attacked network starts from large weights, and is fooled."""

import pytest
from torch import nn

from robustnb.papers.bayesian_weight_sampling.other_sources import train_source
from robustnb.papers.bayesian_weight_sampling.training import Training


def test_the_attacked_networks_start_from_the_prior_s_spread() -> None:
    still = Training("digits", lr=0.0, epochs=1)
    model = train_source(still, "FC-10", seed=0).model
    (layer,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    # A Gaussian of the prior's 0.26 that is cut at two of them has 0.88 of its spread.
    assert layer.weight.std().item() == pytest.approx(0.88 * 0.26, rel=0.03)
