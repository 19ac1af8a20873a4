"""Nine mistakes, each with its correction beside it, and what both say of the same network.

Every exhibit takes a network and a pair: images (N, 1, 28, 28) in [0, 1] and labels (N,).
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustnb.attacks.gradient import PGD, cross_entropies
from robustnb.judging import passes
from robustnb.mistakes.bare import climb, pgd
from robustnb.mistakes.networks import Normalise
from robustnb.models import Scale
from robustnb.randomness import noise_from, seeded
from robustnb.training import Split

EPS = 0.1  # in Linf, where black is 0 and white is 1
LENGTH = 1.5  # in L2, on the same scale


class Seen(NamedTuple):
    """What an evaluation sees: images, answers (N,), and how often each is right (N,)."""

    images: Tensor
    answers: Tensor
    right: Tensor

    @property
    def accuracy(self) -> float:
        """Return the mean share of right answers."""
        return self.right.mean().item()


class Exhibit(NamedTuple):
    """The same network, judged in a wrong and in the right way."""

    wrong: Seen
    right: Seen


def judged(network: nn.Module, data: Split, draws: int = 1) -> Seen:
    """Ask a network in evaluation mode; of several draws the answer is the most frequent one."""
    images, labels = data
    answers = passes(network)(images, draws, seeded(1)).argmax(-1)
    return Seen(images, answers.mode(0).values, (answers == labels).float().mean(0))


def _both(network: nn.Module, wrong: Tensor, right: Tensor, data: Split) -> Exhibit:
    _, labels = data
    return Exhibit(judged(network, (wrong, labels)), judged(network, (right, labels)))


def normalised_pixels(network: nn.Sequential, data: Split) -> Exhibit:
    """Attack normalised pixels, with an eps for pixels from 0 to 1."""
    normalise, rest = Normalise(), network[1]
    black, white = normalise(torch.tensor([0.0, 1.0])).tolist()
    pixels, labels = normalise(data[0]), data[1]
    moved = pgd(rest, pixels, labels, EPS, black=black, white=white)
    wrong = normalise.back(moved)

    right = pgd(network, *data, EPS)
    return _both(network, wrong, right, data)


def late_clamp(network: nn.Module, data: Split) -> Exhibit:
    """Let pixels leave 0 to 1, and cut them when the image is saved."""
    wrong = climb(network, *data, LENGTH, clamp=False)
    wrong = wrong.clamp(0, 1)

    right = climb(network, *data, LENGTH, clamp=True)
    return _both(network, wrong, right, data)


def wrong_scale(network: nn.Module, data: Split, white: int = 2) -> Exhibit:
    """Take an eps for pixels from 0 to 1 where white is 2."""
    images, labels = data
    scaled = nn.Sequential(Scale(1 / white), network)
    pixels = white * images
    wrong = pgd(scaled, pixels, labels, EPS, white=white)

    right = pgd(scaled, pixels, labels, white * EPS, white=white)
    return _both(network, wrong / white, right / white, data)


def one_draw(network: nn.Module, data: Split) -> Exhibit:
    """Attack a random network along the gradient of one draw."""
    attack = PGD(EPS, EPS / 4, steps=10, eot_samples=1)
    wrong = attack(network, *data, seeded(0))

    attack = PGD(EPS, EPS / 4, steps=10, eot_samples=20)
    right = attack(network, *data, seeded(0))
    seen = [(each, data[1]) for each in (wrong, right)]
    return Exhibit(*(judged(network, each, draws=20) for each in seen))


def saturated_loss(network: nn.Module, data: Split) -> Exhibit:
    """Climb a loss that is exactly 0 where the network is sure."""
    sure = nn.Sequential(network, Scale(100.0))
    wrong = pgd(sure, *data, EPS)

    def divided(logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropies(logits / 100, labels)

    right = pgd(sure, *data, EPS, loss=divided)
    return _both(sure, wrong, right, data)


def training_mode(network: nn.Module, data: Split) -> Exhibit:
    """Leave the network in training mode while it is attacked."""
    training = copy.deepcopy(network).train()
    with noise_from(training, seeded(0)):
        wrong = pgd(training, *data, EPS)

    right = pgd(network.eval(), *data, EPS)
    return _both(network, wrong, right, data)


def probabilities(network: nn.Module, data: Split) -> Exhibit:
    """Give probabilities to an attack that expects logits."""
    with_softmax = nn.Sequential(network, nn.Softmax(dim=1))
    wrong = climb(with_softmax, *data, LENGTH)

    right = climb(network, *data, LENGTH)
    return _both(network, wrong, right, data)


def chosen_on_test(networks: Sequence[nn.Module], data: Split) -> Exhibit:
    """Choose a network by the images of the report, the first half."""
    attacked = [(pgd(each, *data, EPS), data[1]) for each in networks]
    seen = [judged(*pair) for pair in zip(networks, attacked, strict=True)]
    half = len(data[0]) // 2
    wrong = max(seen, key=lambda each: each.right[:half].sum())

    right = max(seen, key=lambda each: each.right[half:].sum())
    report = [[part[:half] for part in each] for each in (wrong, right)]
    return Exhibit(*(Seen(*parts) for parts in report))


def chosen_on_counted_draws(network: nn.Module, data: Split) -> Exhibit:
    """Choose one of ten attacks for each image by the draws that count."""
    attack, ask = PGD(EPS, EPS / 4, steps=10), passes(network)
    ten = [attack(network, *data, seeded(seed)) for seed in range(10)]
    said = [ask(each, 3, seeded(1)).argmax(-1) for each in ten]
    counted = torch.stack(said)  # (attack, draw, image)
    wrong = (counted == data[1]).sum(1).argmin(0)

    said = [ask(each, 3, seeded(2)).argmax(-1) for each in ten]
    rehearsed = torch.stack(said)
    right = (rehearsed == data[1]).sum(1).argmin(0)
    moved = torch.stack(ten)
    met = [_met(moved, counted, data, each) for each in (wrong, right)]
    return Exhibit(*met)


def _met(moved: Tensor, counted: Tensor, data: Split, choice: Tensor) -> Seen:
    """Return what is seen if each image (N,) meets the attack of its `choice`."""
    each = torch.arange(len(choice))
    answers = counted[choice, :, each]  # (image, draw)
    right = (answers == data[1].unsqueeze(1)).float().mean(1)
    return Seen(moved[choice, each], answers.mode(1).values, right)
