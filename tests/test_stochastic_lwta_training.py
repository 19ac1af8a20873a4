"""How Kaspar et al.'s networks are trained: on which attacks, with which parts, what is left."""

from dataclasses import replace

import pytest
import torch

from robustnb.attacks.carlini_wagner import CarliniWagner
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.data import load
from robustnb.defenses.adversarial_training import Adversarial, InputNoise, Mixture
from robustnb.defenses.lwta import competitions
from robustnb.defenses.pni import coefficients
from robustnb.papers.stochastic_lwta.protocols import (
    LWTA,
    MIXED,
    MIXED_NOISE,
    NETWORKS,
    NOISE,
    PROTOCOLS,
    REGULAR,
    SMOOTH_LWTA,
    SMOOTHING,
    TUNED,
    Protocol,
    TrainingAttacks,
)
from robustnb.papers.stochastic_lwta.stand_in import Through
from robustnb.papers.stochastic_lwta.training import Trained, Training, build, loss, splits, train
from robustnb.randomness import initial_weights, seeded
from robustnb.training import cross_entropy

TRAINING = Training(
    *("digits", 8, "small CNN"),
    num_images=64,
    num_validation=20,
    schedule="one-cycle",
    batch_size=32,
    epochs=2,
)
ATTACKS = TrainingAttacks(PGD(eps=0.1, alpha=0.1, steps=1), CarliniWagner(c=1.0, steps=1))


def trained(name: str) -> Trained:
    return train(TRAINING, NETWORKS[name], ATTACKS.of(NETWORKS[name]), 0)


def test_networks_are_trained_as_their_names_say() -> None:
    generator = seeded(0)
    pgd, wagner = ATTACKS.pgd, ATTACKS.carlini_wagner
    mixed = (InputNoise(ATTACKS.sigma), pgd, FGSM(pgd.eps), wagner)
    expected = {
        REGULAR: cross_entropy,
        NOISE: cross_entropy,
        SMOOTHING: Mixture(mixed[:1], generator=generator),
        "Smoothing, PGD": Mixture(mixed[:2], generator=generator),
        "Smoothing, PGD, FGSM": Mixture(mixed[:3], generator=generator),
        MIXED: Mixture(mixed, generator=generator),
        MIXED_NOISE: Mixture(mixed, generator=generator),
        LWTA: Adversarial(Through(pgd, "relaxed", 0.01), generator=generator),
        TUNED: Adversarial(pgd, generator=generator),
        SMOOTH_LWTA: Adversarial(Through(pgd, "mean", 0.01), generator=generator),
    }
    found = {name: loss(net, ATTACKS.of(net), generator) for name, net in NETWORKS.items()}
    assert found == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_parts_that_their_names_say(name: str) -> None:
    model = build("small CNN", NETWORKS[name], 1)
    assert bool(coefficients(model)) == ("Noise Injection" in name)
    assert bool(competitions(model)) == ("LWTA" in name)
    assert NETWORKS[name].is_stochastic == bool(coefficients(model) or competitions(model))


def test_a_trained_network_is_served_cold() -> None:
    hot, cold = (
        {(layer.mode, layer.temperature) for layer in competitions(model)}
        for model in (build("small CNN", NETWORKS[LWTA], 1), trained(LWTA).model)
    )
    assert (hot, cold) == ({("relaxed", 0.67)}, {("relaxed", 0.01)})


def test_the_noise_is_watched_from_the_start_to_the_end() -> None:
    found = trained(MIXED_NOISE)
    assert len(found.strengths) == 1 + TRAINING.epochs
    assert set(found.strengths[0].values()) == {0.25}
    last = {name: abs(alpha.item()) for name, alpha in coefficients(found.model).items()}
    assert found.strengths[-1] == pytest.approx(last)


def test_validation_is_the_end_of_the_training_part() -> None:
    images, labels = load("digits", "as_published").split("train")
    train_split, validation = splits(replace(TRAINING, side=None))
    assert torch.equal(train_split[0], images[:64])
    assert torch.equal(train_split[1], labels[:64])
    assert torch.equal(validation[0], images[-20:])
    assert torch.equal(validation[1], labels[-20:])


def test_the_report_s_network_is_that_of_section_4() -> None:
    paper = PROTOCOLS["paper"]
    training = paper.training
    assert (training.dataset, training.epochs, training.lr) == ("cifar10", 30, 0.1)
    assert paper.training_attacks.pgd == PGD(eps=8 / 255, alpha=0.007, steps=20)
    with initial_weights(0):
        model = build(training.architecture, NETWORKS[LWTA], 3)
    assert sum(parameter.numel() for parameter in model.parameters()) == 466_714


def test_our_own_network_alone_has_another_rate_of_learning() -> None:
    protocol = Protocol()
    rates = {name: protocol.training_of(name).schedule for name in NETWORKS}
    assert rates == dict.fromkeys(NETWORKS, "constant") | {TUNED: "one-cycle"}
