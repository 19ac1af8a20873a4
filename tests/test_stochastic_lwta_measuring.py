"""How Kaspar et al.'s networks are attacked and judged, on networks that are not even trained."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.attacks.gradient import FGSM, PGD
from robustnb.data import load
from robustnb.defenses.lwta import WinnerTakesAll, competitions
from robustnb.defenses.pni import coefficients
from robustnb.judging import judge, passes
from robustnb.models import predict
from robustnb.papers.images import Images
from robustnb.papers.stochastic_lwta.measuring import NoiseOff, answers, attack_and_judge, noise_off
from robustnb.papers.stochastic_lwta.protocols import LWTA, MIXED_NOISE, NETWORKS, REGULAR
from robustnb.papers.stochastic_lwta.stand_in import Through
from robustnb.papers.stochastic_lwta.timing import milliseconds
from robustnb.papers.stochastic_lwta.training import Trained, build
from robustnb.randomness import initial_weights, noise_from, seeded

IMAGES = Images("digits", "as_published", "test", 20, 8)
PGD_3 = PGD(eps=0.1, alpha=0.05, steps=3)


def untrained(name: str) -> Trained:
    with initial_weights(0):
        return Trained(build("small CNN", NETWORKS[name], 1).eval(), [], [])


def first_images() -> tuple[Tensor, Tensor]:
    images, labels = load("digits", "as_published").split("test")
    return F.adaptive_avg_pool2d(images[:20], 8), labels[:20]


def right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(1) == labels).float()


def test_a_rehearsal_has_draws_of_its_own() -> None:
    judged = attack_and_judge(untrained(LWTA), None, None, IMAGES, 10, 0)
    assert not torch.equal(judged.shares, judged.rehearsed)
    still = attack_and_judge(untrained(REGULAR), None, None, IMAGES, 1, 0)
    assert torch.equal(still.shares, still.rehearsed)


def test_the_attack_is_judged_by_draws_that_it_does_not_have() -> None:
    images, labels = first_images()
    model = untrained(LWTA).model
    found = PGD_3(model, images, labels, seeded(1_000))
    with noise_from(model, seeded(0)):
        draws = [right(predict(model, found), labels) for _ in range(3)]
    judged = attack_and_judge(untrained(LWTA), PGD_3, None, IMAGES, 3, 0)
    torch.testing.assert_close(judged.shares, torch.stack(draws).mean(0))


def test_transfer_takes_what_fools_the_other_network() -> None:
    images, labels = first_images()
    source, model = untrained(REGULAR), untrained(LWTA)
    found = PGD_3(source.model, images, labels, seeded(1_000))
    expected = judge(passes(model.model), found, labels, 3, 0)
    judged = attack_and_judge(model, PGD_3, source, IMAGES, 3, 0)
    torch.testing.assert_close(judged.shares, expected.shares)


def test_a_stand_in_serves_the_attack_alone() -> None:
    model = nn.Sequential(nn.Flatten(), WinnerTakesAll(2, "relaxed", 0.01))
    seen = []

    def probe(model: nn.Module, images: Tensor, *_: object) -> Tensor:
        seen.extend((layer.mode, layer.temperature) for layer in competitions(model))
        return images

    Through(probe, "mean", 0.67)(model, *first_images())
    assert seen == [("mean", 0.67)]
    assert [(layer.mode, layer.temperature) for layer in competitions(model)] == [("relaxed", 0.01)]


def test_noise_is_switched_off_and_on_again() -> None:
    network, (images, labels) = untrained(MIXED_NOISE), first_images()
    model = network.model
    before = [alpha.item() for alpha in coefficients(model).values()]
    with noise_off(model):
        quiet = predict(model, images)
        assert torch.equal(quiet, predict(model, images))
    assert [alpha.item() for alpha in coefficients(model).values()] == before
    assert not torch.equal(predict(model, images), predict(model, images))
    judged = attack_and_judge(network, None, None, IMAGES, 5, 0, is_noise_off=True)
    torch.testing.assert_close(judged.shares, right(quiet, labels))
    seen = []
    NoiseOff(lambda net, x, *_: seen.append(predict(net, x)))(model, images, labels)
    assert torch.equal(seen[0], quiet)


def test_with_the_noise_off_the_attack_meets_none_either() -> None:
    network, (images, labels) = untrained(MIXED_NOISE), first_images()
    with noise_off(network.model):
        found = FGSM(0.1)(network.model, images, labels)
        expected = right(predict(network.model, found), labels)
    judged = attack_and_judge(network, FGSM(0.1), None, IMAGES, 2, 0, is_noise_off=True)
    torch.testing.assert_close(judged.shares, expected)


def test_answers_are_those_of_one_pass() -> None:
    network, (images, labels) = untrained(LWTA), first_images()
    found = answers(network, IMAGES, 0)
    with noise_from(network.model, seeded(0)):
        expected = predict(network.model, images).softmax(1)
    torch.testing.assert_close(found.probabilities, expected)
    assert torch.equal(found.labels, labels)


def test_times_are_positive() -> None:
    found = milliseconds("small CNN", NETWORKS[LWTA], IMAGES, (1, 4), 0)
    assert set(found) == {1, 4}
    assert all(value > 0 for value in found.values())
