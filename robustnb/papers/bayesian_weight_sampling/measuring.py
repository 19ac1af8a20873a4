"""How the networks of Zhang & Chen (2020) are attacked, and how rightly they answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.defenses.bayesian import bayesian_layers, mean_network, sample_logits
from robustnb.devices import device
from robustnb.judging import Judged, attacker_draws, ensemble, judge, passes, single_draws
from robustnb.metrics import accuracy, distortion
from robustnb.papers.bayesian_weight_sampling.training import PIXEL_RANGE, Trained
from robustnb.papers.images import Images
from robustnb.pruning import prune
from robustnb.randomness import seeded
from robustnb.training import Split, score_accuracy


@dataclass(frozen=True)
class Perturbed:
    """Images that an attack has changed, and their labels."""

    images: Tensor
    labels: Tensor

    def load(self) -> Split:
        """Return the images and the labels, on the device."""
        return self.images.to(device()), self.labels.to(device())


@dataclass(frozen=True)
class Answers:
    """How rightly attacked images are read by single weight draws, and by all together."""

    single: Judged
    ensemble: Judged


def perturb(network: Trained, attack: Attack, images: Images, seed: int) -> Perturbed:
    """Attack a network itself, by weight draws of the attacker's own."""
    pictures, labels = images.load()
    found = attack(network.model.to(device()), pictures, labels, attacker_draws(seed))
    return Perturbed(found.cpu(), labels.cpu())


def mean_distortion(perturbed: Perturbed, images: Images) -> float:
    """Return the mean distortion of perturbed images, with pixels on the paper's scale of 0..2."""
    (found, _), (pictures, _) = perturbed.load(), images.load()
    return PIXEL_RANGE * distortion(found - pictures).mean().item()


def pruned(network: Trained, rate: float) -> Trained:
    """Remove the share `rate` of a variational network's weights (section 6)."""
    return replace(network, model=prune(network.model, rate))


def at_means(network: Trained) -> Trained:
    """Take the noise from a variational network: its weights stay at their means."""
    return replace(network, model=mean_network(network.model))


def accuracy_of_pass(network: Trained, images: Images | Perturbed) -> dict[int, float]:
    """Measure a network that draws nothing, as an ensemble of one."""
    return {1: score_accuracy(network.model.to(device()), *images.load())}


def accuracy_of_draws(
    network: Trained, images: Images | Perturbed, sizes: Sequence[int], first: int, seed: int
) -> dict[int, float]:
    """Measure ensembles of a variational network's weight draws, by their size.

    The draws are those of `seed` from number `first` on, so that other images can have others.
    """
    model, (pictures, labels) = network.model.to(device()), images.load()
    generator = seeded(seed, device())
    skip_draws(model, first, generator)
    draws = sample_logits(model, pictures, max(sizes), generator).softmax(-1)
    return {size: ensemble_accuracy(draws, labels, size) for size in sizes}


def skip_draws(model: nn.Module, number: int, generator: torch.Generator) -> None:
    """Take from a generator what so many weight draws take."""
    for _ in range(number):
        for layer in bayesian_layers(model):
            torch.empty_like(layer.mu).normal_(generator=generator)


def ensemble_accuracy(draws: Tensor, labels: Tensor, size: int) -> float:
    """Return the mean accuracy of the S / `size` ensembles in S draws (S, N, classes) (eq. 7).

    At size 1 it is the mean over single draws, which the paper calls 100 random runs.
    """
    scores = [accuracy(group.mean(0), labels) for group in draws.split(size)]
    return sum(scores) / len(scores)


def answers(network: Trained, attacked: Perturbed, draws: int, seed: int) -> Answers:
    """Judge how rightly attacked images are read: by `draws` of 1 if the network draws nothing."""
    model = network.model.to(device())
    ask = partial(sample_logits, model) if bayesian_layers(model) else passes(model)
    judged = partial(judge, ask, *attacked.load(), draws, seed)
    return Answers(judged(single_draws), judged(ensemble))
