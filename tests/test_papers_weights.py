"""Networks kept with the book: written from trainings, read back as they were, with their facts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from robustnb import reproduction
from robustnb.data import load
from robustnb.models import predict
from robustnb.papers import weights
from robustnb.papers.bang.weights import kept as kept_of_bang
from robustnb.papers.bayesian_weight_sampling.protocols import PROTOCOLS
from robustnb.papers.bayesian_weight_sampling.weights import kept as kept_of_bws
from robustnb.papers.bayesian_weight_sampling.weights import networks, untrained
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.weights import kept as kept_of_noise
from robustnb.papers.pieces import result
from robustnb.randomness import noise_from, seeded

KEPT = {
    "bang": kept_of_bang,
    "bayesian-weight-sampling": kept_of_bws,
    "noise-optimization": kept_of_noise,
}


@pytest.mark.usefixtures("cache_folder")
def test_networks_come_back_as_they_were_trained(tmp_path: Path) -> None:
    protocol = PROTOCOLS["smoke"]
    short = [replace(part, epochs=1) for part in (protocol.plain, protocol.bayesian)]
    protocol = replace(protocol, plain=short[0], bayesian=short[1], rho_inits=(-3.0,))
    trained = networks(protocol, seed=0)
    weights.write("bayesian-weight-sampling", "smoke", 0, trained, tmp_path)
    kept = weights.read("bayesian-weight-sampling", untrained, tmp_path)
    assert list(kept) == list(trained) == ["standard lambda=0", "bayesian rho_init=-3"]
    images, labels = Images(protocol.dataset).load()
    for name, network in kept.items():
        before = result(trained[name].trained).model
        with noise_from(before, seeded(1)), noise_from(network.model, seeded(1)):
            logits = [predict(model, images) for model in (before, network.model)]
        torch.testing.assert_close(*logits, rtol=0.02, atol=0.02)
        right = (logits[0].argmax(1) == labels).float().mean().item()
        assert network.facts.accuracy == pytest.approx(right, abs=0.03)
        assert network.facts.num_images == len(labels)
    named = {"random": kept["bayesian rho_init=-3"]}
    assert "*random*: bayesian rho_init=-3 of Table 2 (" in weights.described(
        named, load("mnist-5k")
    )


def test_a_damaged_file_and_another_papers_are_one_sentence(tmp_path: Path) -> None:
    written = weights.path_of("noise-optimization").read_bytes()
    other = weights.path_of("bang").read_bytes()
    place = weights.path_of("noise-optimization", tmp_path)
    place.parent.mkdir()
    for damaged in (written[:-60_000] + bytes(60_000), written[:1000], b"", b"{}", other):
        place.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged, or does not hold the networks of noise-"):
            kept_of_noise(tmp_path)


def test_what_is_missing_or_unknown_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bang.safetensors is missing"):
        weights.read("bang", lambda _: nn.Identity(), tmp_path)
    with pytest.raises(ValueError, match="stochastic-lwta has no networks to keep"):
        reproduction.keep_weights("stochastic-lwta")
    with pytest.raises(ValueError, match="'best' is no profile: it must be one of smoke"):
        reproduction.keep_weights("bang", "best")


@pytest.mark.skipif("ROBUSTNB_DATA" not in os.environ, reason="no real data")
@pytest.mark.parametrize("paper", KEPT)
def test_kept_networks_read_as_many_test_images_as_they_say(paper: str) -> None:
    images = {
        "noise-optimization": Images("mnist", "at_random"),
        "bang": Images("mnist", "as_published"),
    }
    pictures, labels = images.get(paper, Images("mnist")).load()
    for network in KEPT[paper]().values():
        facts = network.facts
        assert (facts.dataset, facts.num_images) == ("mnist", len(labels))
        with noise_from(network.model, seeded(1)):
            right = (predict(network.model, pictures).argmax(1) == labels).float().mean().item()
        assert right == pytest.approx(facts.accuracy, abs=0.01)


def test_all_kept_networks_are_small_enough_for_a_page() -> None:
    files = [weights.path_of(paper) for paper in KEPT]
    assert sum(file.stat().st_size for file in files) <= 6e6
