"""The other kind of attacked network starts from large weights, and is fooled."""

from pathlib import Path

import pytest
import torch
from torch import nn

from robustnb.data import load
from robustnb.experiments import bayesian_weight_sampling_kinship as kinship
from robustnb.experiments.bayesian_weight_sampling_pieces import Protocol, Training
from robustnb.experiments.pieces import result

TINY = Protocol(
    plain=Training("digits", lr=1e-2, batch_size=32, epochs=1),
    bayesian=Training("digits", lr=1e-4, batch_size=32, epochs=1),
    rho_inits=(-3.0,),
    lambdas=("0",),
    sources=("FC-10",),
    ensembles=(1, 5),
    num_images=30,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBUSTNB_CACHE", str(tmp_path))


def test_the_attacked_networks_start_from_the_prior_s_spread() -> None:
    still = Training("digits", lr=0.0, epochs=1)
    model: nn.Sequential = kinship.train_source(still, "FC-10", seed=0).model
    (layer,) = (module for module in model if isinstance(module, nn.Linear))
    # A Gaussian of the prior's 0.26 that is cut at two of them has 0.88 of its spread.
    assert layer.weight.std().item() == pytest.approx(0.88 * 0.26, rel=0.03)


def test_every_network_is_asked_about_images_that_fool_the_attacked_one() -> None:
    (piece,) = kinship.perturbed_pieces(TINY, 0).values()
    images, labels = result(piece).images, load("digits").split("test")[1][:30]
    attacked = kinship.train_source(TINY.plain, "FC-10", 0).model
    assert not (attacked(images).argmax(1) == labels).any()
    found = {column: share for column, share, _ in kinship.averages(TINY, 0)}
    plain = kinship.network(TINY, "standard lambda=0", 0)
    with torch.no_grad():
        share = (plain(images).argmax(1) == labels).float().mean().item()
    assert found["standard lambda=0"] == pytest.approx(share)
    assert "bayesian rho_init=-3" in found
