"""How often random noise changes the answers of two networks (Figures 3 and 5)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustnb.devices import device
from robustnb.models import predict
from robustnb.papers.bang.training import BATCH, Trained
from robustnb.papers.images import Images
from robustnb.randomness import seeded
from robustnb.training import Split


@dataclass(frozen=True)
class Noisy:
    """The share of noisy copies that change the answer, by iteration, std and clipping.

    Each share comes twice: for the first network and for the second. There is none where no image
    is classified correctly by both at every stage.
    """

    num_images: int
    shares: dict[tuple[int, float, bool], tuple[float, float]]


def add_noise(
    pair: tuple[Trained, Trained],
    images: Images,
    stds: tuple[float, ...],
    copies: int,
    per_class: int,
    seed: int,
) -> Noisy:
    """Add Gaussian noise to images that both networks read rightly at every stage (section 4).

    At most `per_class` images of each class, `copies` of each, and the same noise for both
    networks, with and without clipping pixels to [0, 1]. `stds` are in pixels of 0 to 255.
    """
    stages = {i: [network.at(i).to(device()) for network in pair] for i in pair[0].weights}
    models = [model for both in stages.values() for model in both]
    pictures, answers = agreed(models, *images.load(), per_class)
    shares = {
        (iteration, std, clipped): changed(both, pictures, answers, std, clipped, copies, seed)
        for iteration, both in stages.items()
        for std in stds
        for clipped in (False, True)
        if len(pictures)
    }
    return Noisy(len(pictures), shares)


def agreed(models: list[nn.Module], images: Tensor, labels: Tensor, per_class: int) -> Split:
    """Return the first images of each class that all networks classify correctly."""
    right = torch.stack([predict(model, images, BATCH).argmax(1) == labels for model in models])
    of_class = F.one_hot(labels).mul(right.all(0).unsqueeze(1))
    kept = (of_class.cumsum(0).mul(of_class).sum(1) <= per_class) & right.all(0)
    return images[kept], labels[kept]


def changed(
    models: list[nn.Module],
    images: Tensor,
    answers: Tensor,
    std: float,
    clipped: bool,
    copies: int,
    seed: int,
) -> tuple[float, float]:
    """Return, for each of two networks, the share of noisy copies that it answers otherwise."""
    generator, counts = seeded(seed, images.device), [0.0, 0.0]
    for _ in range(copies):
        noise = torch.empty_like(images).normal_(std=std / 255, generator=generator)
        copy = (images + noise).clamp(0, 1) if clipped else images + noise
        for place, model in enumerate(models):
            different = predict(model, copy, BATCH).argmax(1) != answers
            counts[place] += different.float().mean().item()
    return counts[0] / copies, counts[1] / copies
