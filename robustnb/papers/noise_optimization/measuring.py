"""What networks answer to the clean, corrupted and attacked images of Xiao et al. (2021)."""

from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from robustnb.attacks.common import Attack
from robustnb.attacks.gradient import FGSM, PGD
from robustnb.attacks.lbfgs import LBFGS, BatchLBFGS
from robustnb.corruptions import Constants, corrupt
from robustnb.defenses.noise import noise_layers
from robustnb.devices import device
from robustnb.judging import attacker_draws
from robustnb.papers.images import Images
from robustnb.papers.noise_optimization.training import Trained, one_pass_accuracy
from robustnb.randomness import noise_from, seeded
from robustnb.training import Split

BATCH = 128  # images attacked together, on which the L-BFGS of the paper's code depends

PaperAttack = FGSM | BatchLBFGS | PGD


@dataclass(frozen=True)
class Inference:
    """Say how a network answers: with or without its noise, and in how many passes.

    An accuracy is the mean over `draws` passes; one is enough where nothing is random.
    """

    draws: int = 1
    noise: bool = True


def evaluate(trained: Trained, images: Images, inference: Inference, seed: int) -> float:
    """Return the accuracy on clean images."""
    return mean_accuracy(used(trained, inference.noise), images.load(), inference.draws, seed)


def evaluate_corrupted(
    trained: Trained,
    corruption: str,
    constants: Constants,
    images: Images,
    inference: Inference,
    seed: int,
) -> float:
    """Return the accuracy on corrupted images, the mean over five severities."""
    model, generator = used(trained, inference.noise), seeded(2_000 + seed, device())
    pictures, labels = images.load()
    splits = (
        (corrupt(corruption, pictures, severity, generator, constants), labels)
        for severity in range(1, 6)
    )
    return fmean(mean_accuracy(model, split, inference.draws, seed) for split in splits)


def evaluate_attacked(
    trained: Trained, attack: PaperAttack, images: Images, inference: Inference, seed: int
) -> float:
    """Return the accuracy on images that are attacked on the network itself."""
    model, (pictures, labels) = used(trained, inference.noise), images.load()
    found = in_batches(attack, model, (pictures, labels), seed)
    return mean_accuracy(model, (found, labels), inference.draws, seed)


def perturb(trained: Trained, attack: PaperAttack, images: Images, seed: int) -> Tensor:
    """Return images (N, C, H, W) that are attacked on a network."""
    return in_batches(attack, used(trained), images.load(), seed).cpu()


def evaluate_perturbed(
    trained: Trained, perturbed: Tensor, images: Images, inference: Inference, seed: int
) -> float:
    """Return the accuracy on images (N, C, H, W) that were attacked on another network."""
    split = perturbed.to(device()), images.load()[1]
    return mean_accuracy(used(trained, inference.noise), split, inference.draws, seed)


@dataclass(frozen=True)
class Distorted:
    """The accuracy on attacked images, and how far each lies from its original in L2 (N,)."""

    accuracy: float
    lengths: Tensor


def distort(
    trained: Trained, attack: LBFGS | BatchLBFGS, batch: int, images: Images, draws: int, seed: int
) -> Distorted:
    """Attack images, `batch` of them together, and measure how far they were moved."""
    model, (pictures, labels) = used(trained), images.load()
    found = in_batches(attack, model, (pictures, labels), seed, batch)
    lengths = (found - pictures).flatten(1).norm(dim=1).cpu()
    return Distorted(mean_accuracy(model, (found, labels), draws, seed), lengths)


def used(trained: Trained, noise: bool = True) -> nn.Module:
    """Return a trained network on the device, its noise on or off."""
    for layer in noise_layers(trained.model):
        layer.at_inference = noise
    return trained.model.to(device()).eval()


def in_batches(
    attack: Attack,
    model: nn.Module,
    split: Split,
    seed: int,
    batch: int = BATCH,
) -> Tensor:
    """Attack images in batches, with draws other than those by which a network is measured."""
    (images, labels), generator = split, attacker_draws(seed)
    batches = zip(images.split(batch), labels.split(batch), strict=True)
    return torch.cat([attack(model, *each, generator) for each in batches])


def mean_accuracy(model: nn.Module, split: Split, draws: int, seed: int) -> float:
    """Return the accuracy of a pass, the mean over `draws` of them."""
    with noise_from(model, seeded(seed, device())):
        return fmean(one_pass_accuracy(model, *split) for _ in range(draws))
